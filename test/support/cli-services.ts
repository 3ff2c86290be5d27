import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DeployTokens } from '../../src/auth/deploy-tokens.ts';
import type { Directory, DirectoryTool, Identity } from '../../src/auth/directory.ts';
import { type Maintainers, maintainersInLdap } from '../../src/auth/maintainers.ts';
import type { Services } from '../../src/cli/command.ts';
import { runCommand } from '../../src/cli/run-command.ts';
import { CleanUpHold } from '../../src/core/concurrency/clean-up-hold.ts';
import { DeployError } from '../../src/core/errors.ts';
import { Followers } from '../../src/core/fair-share/followers.ts';
import type { AuditEvent } from '../../src/core/log/audit.ts';
import type { LostNamespace } from '../../src/core/lost-namespace.ts';
import type { ToolName } from '../../src/core/names.ts';
import type { Deployment, Principal } from '../../src/core/types.ts';
import { NOTHING_OUTSIDE, type OutsideVars } from '../../src/core/variables/outside-vars.ts';
import type { Deployments, Ticket, Verdict } from '../../src/deploy/deployments.ts';
import type { ArchiveOutcome, SentArchive, SourceArchives } from '../../src/git/archive/source-archives.ts';
import { lineFilter } from '../../src/run/logs/log-filter.ts';
import type {
  DetachedOneOff,
  Exec,
  LogLine,
  LogQuery,
  OneOff,
  OneOffEnd,
  ProcessStatus,
  Runtime,
} from '../../src/run/runtime.ts';
import { SecretsKey } from '../../src/store/secrets.ts';
import { SqliteStore } from '../../src/store/sqlite-store.ts';
import { alice } from './alice.ts';

/** A user directory in memory with the maintainers of each tool. */
class ListedDirectory implements Directory {
  readonly tools = new Map<string, DirectoryTool>();

  async identifyByKey(): Promise<Identity | null> {
    return null;
  }
  async identifyByPassword(): Promise<Identity | null> {
    return null;
  }
  async findTool(name: ToolName): Promise<DirectoryTool | null> {
    return this.tools.get(name) ?? null;
  }
  async toolsOf(uid: string): Promise<ToolName[]> {
    return [...this.tools.values()].filter((tool) => tool.maintainers.has(uid)).map((tool) => tool.name);
  }
  async close(): Promise<void> {}
}

/** Fake deployments that end as the test says, and record their calls. */
class ScriptedDeployments implements Deployments {
  readonly calls: unknown[] = [];
  log: string[] = ['-----> Releasing v2\n', '=====> v2 is live\n'];
  verdict: Verdict = { isLive: true, version: 2 };
  /** If true, deployments never end, although their log ends. */
  isEndless = false;
  refusal: DeployError | null = null;
  isStoredOnly = false;

  #ticket(...call: unknown[]): Ticket {
    this.calls.push(call);
    if (this.refusal !== null) throw this.refusal;
    const verdict = this.isEndless ? new Promise<Verdict>(() => {}) : Promise.resolve(this.verdict);
    return { id: 'd9', isJoined: false, verdict };
  }
  async submit(): Promise<Ticket> {
    throw new Error('No command submits a push.');
  }
  async rollback(tool: ToolName, version: number | null): Promise<Ticket> {
    return this.#ticket('rollback', tool, version);
  }
  promote(source: ToolName, target: ToolName, isForced: boolean): Ticket {
    return this.#ticket('promote', source, target, isForced);
  }
  redeploy(tool: ToolName, options: { readonly useCache: boolean }): Ticket {
    return this.#ticket('redeploy', tool, options);
  }
  configure(
    tool: ToolName,
    changes: Readonly<Record<string, string | null>>,
    _principal: Principal,
    options = { isStoredOnly: false },
  ): Ticket | null {
    const call = options.isStoredOnly ? 'configure for later' : 'configure';
    const ticket = this.#ticket(call, tool, { ...changes });
    return this.isStoredOnly || options.isStoredOnly ? null : ticket;
  }
  restart(tool: ToolName, _by: Principal, type: string | null = null): Ticket {
    return type === null ? this.#ticket('restart', tool) : this.#ticket('restart', tool, type);
  }
  scale(tool: ToolName, changes: Readonly<Record<string, number>>): Ticket {
    return this.#ticket('scale', tool, { ...changes });
  }
  async setMaintenance(tool: ToolName, isOn: boolean): Promise<boolean> {
    this.#ticket('setMaintenance', tool, isOn);
    return true;
  }
  async stop(tool: ToolName): Promise<void> {
    this.#ticket('stop', tool);
  }
  cancel(tool: ToolName, id: string | null): Deployment {
    this.#ticket('cancel', tool, id);
    throw new DeployError('NO_DEPLOYMENT', `nothing of ${tool} is being deployed`, 'Push first.');
  }
  async *follow(
    id: string,
    { isColoured, signal }: { readonly isColoured: boolean; readonly signal: AbortSignal },
  ): AsyncIterable<string> {
    this.calls.push(['follow', id, isColoured]);
    yield* this.log;
    if (this.isEndless && !signal.aborted) {
      await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
    }
  }
}

/** Fake archives that end as the test says, and record what they were given. */
class ScriptedArchives implements Pick<SourceArchives, 'deploy' | 'download'> {
  readonly sent: (Omit<SentArchive, 'bytes' | 'say' | 'signal' | 'principal'> & { readonly text: string })[] =
    [];
  outcome: ArchiveOutcome = { kind: 'accepted' };

  async deploy({ bytes, say, signal: _, principal: _who, ...rest }: SentArchive): Promise<ArchiveOutcome> {
    const chunks: Uint8Array[] = [];
    for await (const chunk of bytes) chunks.push(chunk);
    this.sent.push({ ...rest, text: Buffer.concat(chunks).toString() });
    await say(Buffer.from('-----> Received\n'));
    return this.outcome;
  }
  async download(
    { commit }: Parameters<SourceArchives['download']>[0],
    out: (bytes: Uint8Array) => Promise<void>,
  ): Promise<void> {
    await out(Buffer.from(`tar of ${commit}`));
  }
}

/** A fake runtime with the test's processes and log lines. */
class ListedRuntime implements Runtime {
  async tryOut(): Promise<null> {
    return null;
  }
  statuses: ProcessStatus[] = [];
  lost: LostNamespace | null = null;
  lines: LogLine[] = [];
  queries: Omit<LogQuery, 'signal'>[] = [];
  oneOffs: OneOff[] = [];
  detached: DetachedOneOff[] = [];
  readonly execs: Omit<Exec, 'output'>[] = [];
  end: OneOffEnd = { status: 0, why: null };
  readonly scheduleCalls: string[][] = [];

  outside: OutsideVars = NOTHING_OUTSIDE;
  async assertReady(): Promise<void> {}
  async outsideVars(): Promise<OutsideVars> {
    return this.outside;
  }
  async runReleasePhase(): Promise<void> {}
  async rollOut(): Promise<void> {}
  async resume(): Promise<void> {}
  async scale(): Promise<void> {}
  async stop(): Promise<void> {}
  async remove(): Promise<void> {}
  async letGo(): Promise<void> {}
  async status(): Promise<ProcessStatus[]> {
    return this.statuses;
  }
  lostNamespace(): LostNamespace | null {
    return this.lost;
  }
  async *logs(_tool: ToolName, { signal: _signal, ...query }: LogQuery): AsyncIterable<LogLine[]> {
    this.queries.push(query);
    const lines = this.lines.filter(
      lineFilter({ process: null, ...(query.match && { match: query.match }) }),
    );
    for (const line of lines) yield [line];
  }
  address(tool: ToolName): string | null {
    return tool.includes('_') ? null : `http://${tool}.localhost:8080/`;
  }
  async close(): Promise<void> {}
  async cleanUp(): Promise<void> {}
  async run(oneOff: OneOff): Promise<OneOffEnd> {
    this.oneOffs.push(oneOff);
    await oneOff.output(Buffer.from('output'));
    await oneOff.errors(Buffer.from('errors'));
    return this.end;
  }
  async exec({ output, ...exec }: Exec): Promise<OneOffEnd> {
    this.execs.push(exec);
    await output(Buffer.from('beside'));
    return this.end;
  }
  async beginMaintenance(): Promise<boolean> {
    return false;
  }
  keepMaintenance(): void {}
  async endMaintenance(): Promise<void> {}
  async runDetached(oneOff: DetachedOneOff): Promise<string> {
    this.detached.push(oneOff);
    return 'run.1';
  }
  endDetached(_tool: ToolName, name: string): boolean {
    return name === 'run.1';
  }
  async startScheduledRun(tool: ToolName, type: string): Promise<void> {
    this.scheduleCalls.push(['run', tool, type]);
  }
  async dropOldLogs(): Promise<void> {}
  async applyPauses(tool: ToolName): Promise<void> {
    this.scheduleCalls.push(['pauses', tool]);
  }
  artifactsInUse(): ReadonlySet<string> {
    return new Set();
  }
  async endOneOffs(): Promise<void> {}
}

export interface Answer {
  readonly status: number;
  readonly out: string;
  readonly err: string;
}

/** Everything that commands need, with a real store, and a method that runs a command. */
export class Desk implements Disposable {
  readonly #folder = mkdtempSync(join(tmpdir(), 'cli-'));
  readonly directory = new ListedDirectory();
  /** Refuses all changes of maintainers, as with LDAP, unless a test replaces it. */
  maintainers: Maintainers = maintainersInLdap({ ldap_tools: 'dc=example', ldap_tool_prefix: 'tools.' });
  readonly deployments = new ScriptedDeployments();
  readonly archives = new ScriptedArchives();
  readonly runtime = new ListedRuntime();
  readonly store = new SqliteStore(this.#folder, new SecretsKey(Buffer.alloc(32, 1)));
  readonly alice = alice;

  readonly followers: Followers;

  /** @param stallMs - For how many milliseconds a follower may read nothing. */
  constructor(stallMs?: number) {
    this.followers = new Followers(stallMs);
  }

  /** The previews that a command has ended. */
  readonly ended: ToolName[] = [];

  /** The events for the audit log. */
  readonly events: AuditEvent[] = [];

  get services(): Services {
    const audit = (event: AuditEvent) => void this.events.push(event);
    const { directory, deployments, runtime, store } = this;
    const addresses = { ssh: 'ssh://127.0.0.1:2222', http: 'http://127.0.0.1:8080' };
    return {
      directory,
      maintainers: this.maintainers,
      deployments,
      archives: this.archives,
      previews: { days: 7, end: async (preview) => void this.ended.push(preview) },
      renames: { rename: async () => assert.fail('No test renames here.') },
      transfers: {
        export: async () => assert.fail('No test exports here.'),
        import: async () => assert.fail('No test imports here.'),
        deploy: async () => assert.fail('No test imports here.'),
      },
      runtime,
      store,
      tokens: new DeployTokens(store),
      audit,
      addresses,
      followers: this.followers,
      cleanUp: new CleanUpHold(),
      limits: { memory: 512 * 2 ** 20, builds: 200, replicas: 4, repository: 4096 * 2 ** 20 },
      repositoryBytes: async () => 3 * 2 ** 20,
      deployBranch: 'main',
      room: { assertRoom: async () => {} },
    };
  }

  maintain(tool: ToolName, uid: string, isDisabled = false): void {
    this.directory.tools.set(tool, { name: tool, maintainers: new Set([uid]), isDisabled });
  }

  async type(
    argv: readonly string[],
    more: {
      readonly principal?: Principal;
      readonly input?: string | Uint8Array;
      readonly signal?: AbortSignal;
      readonly onOut?: (text: string) => void;
    } = {},
  ): Promise<Answer> {
    let out = '';
    let err = '';
    const status = await runCommand({
      services: this.services,
      principal: more.principal ?? this.alice,
      argv,
      input: chunks(more.input ?? ''),
      out: async (text) => {
        out += text;
        more.onOut?.(String(text));
      },
      err: async (text) => {
        err += text;
      },
      signal: more.signal ?? new AbortController().signal,
    });
    return { status, out, err };
  }

  [Symbol.dispose](): void {
    this.store.close();
    rmSync(this.#folder, { recursive: true });
  }
}

/** Yields the input in pieces of three bytes, which can split characters. */
async function* chunks(input: string | Uint8Array): AsyncGenerator<Uint8Array> {
  const bytes = typeof input === 'string' ? Buffer.from(input) : input;
  for (let from = 0; from < bytes.length; from += 3) yield bytes.subarray(from, from + 3);
}
