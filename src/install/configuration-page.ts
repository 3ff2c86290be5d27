import { environmentName } from '../config.ts';
import { settings } from '../settings/settings-table.ts';

// How docs/configuration.md shows defaults that depend on the machine.
const defaults: Readonly<Record<string, string>> = {
  data: '`/var/lib/toolforge-push` for root, else `~/.local/share/toolforge-push`',
  keys: '`keys/` in the folder of the project',
  buildpacks: '`buildpacks/` in the folder of the project',
};

/** The text of docs/configuration.md, made from the table of settings. */
export function configurationPage(): string {
  const rows = Object.entries(settings).map(([name, [, byDefault, meaning]]) => {
    const shown = defaults[name] ?? (byDefault === '' ? '' : `\`${byDefault}\``);
    return `| \`${name}\` | \`${environmentName(name)}\` | ${shown} | ${meaning} |`;
  });
  return `# Settings

Set each setting in the YAML file that the variable \`TOOLFORGE_PUSH_CONFIG\` names, or in the environment. If both have the
setting, the environment wins. The server does not start if a value is wrong or the file has an unknown setting, and says which
setting is wrong and why. For an unknown variable \`TOOLFORGE_PUSH_…\` in the environment, the server only logs a warning, because
Kubernetes sets such variables for a Service named \`toolforge-push\`.

| setting | environment | default | what it does |
| --- | --- | --- | --- |
${rows.join('\n')}

An example of the YAML file that \`TOOLFORGE_PUSH_CONFIG\` names:

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
