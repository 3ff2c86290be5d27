import { environmentName } from './config.ts';
import { settings } from './settings/table.ts';

// What a default says where it depends on the machine.
const defaults: Readonly<Record<string, string>> = {
  data: '`/var/lib/toolforge-push` for root, else `~/.local/share/toolforge-push`',
  keys: '`keys/` in the folder of the project',
  buildpacks: '`buildpacks/` in the folder of the project',
};

/** docs/configuration.md, from the table of settings. */
export function configurationPage(): string {
  const rows = Object.entries(settings).map(([name, [, byDefault, meaning]]) => {
    const shown = defaults[name] ?? (byDefault === '' ? '' : `\`${byDefault}\``);
    return `| \`${name}\` | \`${environmentName(name)}\` | ${shown} | ${meaning} |`;
  });
  return `# Settings

Each setting has a name in the YAML file that \`TOOLFORGE_PUSH_CONFIG\` names, and a name in the environment, which wins.
A setting that is wrong stops the start with a sentence that says which one and why, and so does an unknown one in the file.
An unknown name in the environment is a warning in the log, since Kubernetes sets names like these for a service of this name.

| setting | environment | default | what it does |
| --- | --- | --- | --- |
${rows.join('\n')}

An example of a file:

\`\`\`yaml
http: 0.0.0.0:443
tls_certificate: /etc/toolforge-push/tls.pem
tls_key: /etc/toolforge-push/tls.key
ssh: 0.0.0.0:22
domain: tools.example.org
build_time: 600
build_environment:
  PIP_INDEX_URL: https://pypi.example.org/simple
\`\`\`
`;
}
