import type { ToolCommand, ToolContext } from '../../command.ts';
import { assertSet, namesOf } from '../../command-line/config-names.ts';
import { configVarsOf } from './configure.ts';

const share: ToolCommand = {
  name: 'config share',
  usage: 'TOOL [NAME …]',
  summary: 'let new previews of a tool begin with the values of these config vars',
  details: [
    'A preview has config vars of its own. When a push makes the preview, it gets the values of the shared config vars. Sharing changes nothing in existing previews.',
    'Without NAME, lists the shared config vars.',
  ],
  isAfterTool: (word) => /^[A-Z_]/.test(word),
  examples: ['config share wikibot', 'config share wikibot LOCALE API_URL'],
  action: 'deploy',
  audited: namesOf,
  options: {},
  words: { min: 0, max: 1000 },
  async run(context) {
    const { services, tool, args } = context;
    const { store } = services;
    assertSet(tool, await configVarsOf(context), args);
    if (args.length > 0) store.setSharedConfig(tool, [...store.sharedConfig(tool), ...args]);
    return await tell(context);
  },
};

const unshare: ToolCommand = {
  name: 'config unshare',
  usage: 'TOOL NAME …',
  summary: 'stop giving new previews of a tool the values of these config vars',
  details: ['Existing previews keep the values that they got.'],
  isAfterTool: (word) => /^[A-Z_]/.test(word),
  examples: ['config unshare wikibot API_URL'],
  action: 'deploy',
  audited: namesOf,
  options: {},
  words: { min: 1, max: 1000 },
  async run(context) {
    const { services, tool, args } = context;
    const { store } = services;
    store.setSharedConfig(
      tool,
      store.sharedConfig(tool).filter((name) => !args.includes(name)),
    );
    return await tell(context);
  },
};

export const configSharing: readonly ToolCommand[] = [share, unshare];

async function tell({ services, tool, typed, out }: ToolContext): Promise<number> {
  const { store } = services;
  const names = store.sharedConfig(tool);
  await out(
    names.length === 0
      ? `New previews of ${tool} get no config vars of ${tool}.\n`
      : `New previews of ${tool} get the values of: ${names.join(', ')}\n`,
  );
  const [existing] = store.previews(tool);
  if (existing !== undefined)
    await out(
      `Existing previews keep their config vars. To change a config var of a preview: ${typed(`config set ${existing.name} NAME=value`)}\n`,
    );
  return 0;
}
