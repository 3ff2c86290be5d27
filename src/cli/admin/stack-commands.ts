import { resolve } from 'node:path';
import type { Config } from '../../config.ts';
import { openDataFolder } from '../../core/disk/data-folder.ts';
import { DeployError } from '../../core/errors.ts';
import type { Audit } from '../../core/log/audit.ts';
import type { Progress } from '../../core/progress.ts';
import type { CommandShape, FlagValue } from '../command.ts';
import { columns, json } from '../command-line/printing.ts';
import { typedHere } from '../commands/help.ts';
import { OPERATOR, type OperatorLine, runOperatorCommand } from './operator-command.ts';

interface StackContext {
  readonly config: Config;
  readonly args: readonly string[];
  readonly flags: Readonly<Record<string, FlagValue>>;
  readonly progress: Progress;
  readonly out: (text: string) => Promise<void>;
  readonly server: ServerCalls;
}

/** Calls to the running server of the data folder, as its operator. */
export interface ServerCalls {
  /** Runs a command in the server, and returns what it prints. @throws DeployError if it fails or no server runs. */
  readonly ask: (argv: readonly string[]) => Promise<string>;
  /**
   * Runs a command in the server, and prints what it prints. @returns the exit status. @throws DeployError `NO_SERVER`
   * if no server runs; `NOT_THE_OPERATOR` if the server runs as another user; `SERVER_GONE` if the server ends before
   * it answers.
   */
  readonly run: (argv: readonly string[]) => Promise<number>;
}

interface StackCommand extends CommandShape {
  /**
   * Does the command. @returns the exit status. @throws DeployError if it fails; UsageError for a wrong command line.
   */
  run(context: StackContext): Promise<number>;
}

/**
 * The list of Debian packages of a stack, unless `--packages` names another list. The images for a cluster have these
 * packages too.
 */
const PACKAGES = resolve(import.meta.dirname, '../../../deploy/builder/packages');
const MIRROR = 'http://deb.debian.org/debian';
const MAKING = {
  options: { packages: { type: 'string' }, mirror: { type: 'string' } },
  words: { min: 0, max: 0 },
} as const;
const FLAGS = [
  `--mirror URL takes Debian’s packages from this address instead of ${MIRROR}.`,
  '--packages FILE makes the stack with the packages of this list, instead of deploy/builder/packages.',
];

const make: StackCommand = {
  name: 'stack make',
  usage: '[--mirror URL] [--packages FILE]',
  summary: 'make a Debian system for builds and tools',
  examples: ['stack make'],
  details: [
    'Builds and tools then see the files of this system, but no program of this machine.',
    'New builds use the new stack. Releases keep the stack on which they were built. `stack move` builds the tools of old stacks again.',
    'Needs the package mmdebstrap, and 5 GB of free disk. An interrupted command continues when it is typed again.',
    ...FLAGS,
  ],
  ...MAKING,
  run: async (context) => {
    const { makeStack } = await import('../../stack/make-stack.ts');
    await makeStack(await makeOptions(context));
    await tellOld(context);
    return 0;
  },
};

const update: StackCommand = {
  name: 'stack update',
  usage: '[--mirror URL] [--packages FILE]',
  summary: 'get security updates for the newest stack',
  examples: ['stack update'],
  details: [
    'Nothing is built again: a tool gets the updates when it restarts. The old files are removed at the next start of the server.',
    ...FLAGS,
  ],
  ...MAKING,
  run: async (context) => {
    const { updateStack } = await import('../../stack/make-stack.ts');
    await updateStack(await makeOptions(context));
    return 0;
  },
};

const list: StackCommand = {
  name: 'stack list',
  usage: '[--json]',
  summary: 'list the stacks and the live tools on each of them',
  examples: ['stack list'],
  details: [
    '--json prints an array of objects with: id (null for this machine’s own system), madeAt (milliseconds since 1970), isNewest, tools.',
  ],
  options: { json: { type: 'boolean' } },
  words: { min: 0, max: 0 },
  run: async ({ config, flags, out }) => {
    const rows = await overview(config);
    if (flags['json'] === true) {
      await out(json(rows));
      return 0;
    }
    const lines = rows.map(({ id, madeAt, isNewest, tools }) => [
      id ?? '(this machine)',
      madeAt === null ? '-' : new Date(madeAt).toISOString().slice(0, 10),
      isNewest ? 'new builds use it' : 'old',
      tools.join(', '),
    ]);
    await out(columns([['STACK', 'MADE', 'STATE', 'LIVE TOOLS'], ...lines]));
    if (rows.every(({ id }) => id === null))
      await out(`There is no stack. To make one: ${typedHere('stack make')}\n`);
    else if (rows.some(({ isNewest, tools }) => !isNewest && tools.length > 0))
      await out(`To build the tools of old stacks again: ${typedHere('stack move')}\n`);
    return 0;
  },
};

const move: StackCommand = {
  name: 'stack move',
  usage: '[TOOL]…',
  summary: 'build the tools of old stacks again and roll them out',
  examples: ['stack move', 'stack move wikibot'],
  details: [
    'Without TOOL, moves all tools that are not on the newest stack. A stopped tool does not move until it is deployed again. The exit status is 1 if a tool could not be moved.',
  ],
  options: {},
  words: { min: 0, max: 1000 },
  run: async ({ config, args, progress, out, server }) => {
    const rows = await overview(config);
    const newest = rows.find(({ isNewest }) => isNewest);
    if (newest === undefined)
      throw new DeployError('NO_STACK', 'there is no stack', `Make one: ${typedHere('stack make')}`);
    const old = new Map(
      rows.flatMap(({ id, isNewest, tools }) =>
        isNewest ? [] : tools.map((tool): [string, string] => [tool, id ?? 'this machine’s own system']),
      ),
    );
    const states = new Map<string, string>(
      JSON.parse(await server.ask(['tools', '--json'])).map((tool: Record<'name' | 'state', string>) => [
        tool.name,
        tool.state,
      ]),
    );
    const failed: string[] = [];
    for (const tool of args.length > 0 ? args : old.keys()) {
      const from = old.get(tool);
      if (from === undefined) {
        await out(`${tool} needs no move: no live release of it is on an old stack.\n`);
      } else if (states.get(tool) === 'stopped') {
        await out(`${tool} is stopped. It moves to ${newest.id} when it is deployed again.\n`);
      } else {
        progress.step(`${tool}: from ${from} to ${newest.id}`);
        if ((await server.run(['redeploy', tool])) !== 0) failed.push(tool);
      }
    }
    if (failed.length > 0)
      throw new DeployError(
        'NOT_MOVED',
        `${failed.join(', ')} could not be moved to ${newest.id}`,
        'The live releases run as before. Tell the maintainers, who can correct each tool and push it again.',
      );
    return 0;
  },
};

/** The commands on stacks. Only people who may write the data folder can use them. */
export const stackCommands: readonly StackCommand[] = [make, list, move, update];

/** Runs one of `stackCommands`. @returns the exit status. @throws DeployError if the command fails. */
export async function runStack(
  line: OperatorLine & Omit<StackContext, 'args' | 'flags'> & { readonly audit: Audit },
): Promise<number> {
  return await runOperatorCommand(stackCommands, line, async (command, { flags, positionals }) => {
    if (line.config.builder !== 'local')
      throw new DeployError(
        'NO_STACK',
        'this server builds in a cluster, where images take the place of stacks',
        'To make new images: deploy/builder/build-images',
      );
    const status = await command.run({ ...line, flags, args: positionals });
    const facts = { words: positionals, flags };
    if (command !== list) line.audit({ what: command.name, who: OPERATOR, tool: null, facts });
    return status;
  });
}

async function makeOptions({ config, flags, progress }: StackContext) {
  if (config.sandbox === 'trusted')
    throw new DeployError(
      'NO_STACK',
      'this server would not use a stack, because the setting sandbox is trusted',
      'Set sandbox to isolated. Without isolation, builds and tools see the programs of this machine.',
    );
  const { readPackageList } = await import('../../stack/package-list.ts');
  const list = await readPackageList(String(flags['packages'] ?? PACKAGES));
  await openDataFolder(config.data);
  return {
    data: config.data,
    list,
    mirror: String(flags['mirror'] ?? MIRROR).replace(/\/$/, ''),
    progress,
  };
}

async function tellOld({ config, out }: StackContext): Promise<void> {
  const old = (await overview(config)).flatMap(({ isNewest, tools }) => (isNewest ? [] : tools));
  if (old.length > 0)
    await out(
      `Tools that still run on an older stack, or on this machine’s own system: ${old.join(', ')}. To build them on the new stack: ${typedHere('stack move')}\n`,
    );
}

interface Overview {
  /** The id of the stack. Null for this machine's own system, which is no stack. */
  readonly id: string | null;
  readonly madeAt: number | null;
  readonly isNewest: boolean;
  /** The tools whose live release is on this stack. */
  readonly tools: readonly string[];
}

async function overview({ data }: Config): Promise<Overview[]> {
  const [{ listStacks, stackOf }, { readStoreFacts }] = await Promise.all([
    import('../../stack/stacks.ts'),
    import('../../store/store-facts.ts'),
  ]);
  const store = readStoreFacts(resolve(data, 'store.sqlite'));
  const live = store.state === 'whole' ? store.tools.filter((tool) => tool.live !== null) : [];
  const byStack = Map.groupBy(live, ({ live: release }) =>
    release?.artifact.kind === 'slug' ? stackOf(release.artifact.reference) : null,
  );
  const toolsOn = (id: string | null) => (byStack.get(id) ?? []).map(({ name }) => name);
  const stacks = (await listStacks(data)).map(({ id, madeAt }, index) => ({
    id,
    madeAt,
    isNewest: index === 0,
    tools: toolsOn(id),
  }));
  const onMachine = toolsOn(null);
  return onMachine.length === 0
    ? stacks
    : [...stacks, { id: null, madeAt: null, isNewest: false, tools: onMachine }];
}
