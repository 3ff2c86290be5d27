import { DeployError } from '../../core/errors.ts';
import { type Sharer, tokenKey } from '../../core/fair-share/person-limit.ts';
import type { ToolName } from '../../core/names.ts';
import type { Entry } from './line-entry.ts';
import { WaitingPlaces } from './waiting-places.ts';

const MAX_WAITING_OF_TOOL = 20;
const MAX_WAITING_OF_PERSON = 40;
const MAX_WAITING_OF_TOKEN = 20;

/**
 * Decides which deployments run and which wait. The deployments of one tool run one at a time, in the order of arrival.
 * Over all tools, at most `limit` deployments run, in rotation over people and tools; resumed deployments may exceed
 * the limit. The last of several turns is kept for a person who has nothing running, so that one person never holds all
 * turns.
 */
export class Turns {
  readonly #limit: number;
  readonly #run: (entry: Entry) => Promise<void>;
  readonly #places: WaitingPlaces;
  readonly #running = new Map<ToolName, Entry>();
  /**
   * The value of `#endings` when the last deployment of a tool or person ended. The keys are those of `toolKey` and
   * `personKey`. A lower value comes earlier in the rotation (`#inRotation`). Cleared when no deployment waits.
   */
  readonly #endedAt = new Map<string, number>();
  /** How many deployments have ended since this server started. */
  #endings = 0;
  #waiting: Entry[] = [];

  /**
   * @param run - Runs one deployment. It must not reject.
   * @param tellEveryMs - The shortest time between two lines about the place of one deployment in the queue.
   */
  constructor(options: {
    readonly limit: number;
    readonly run: (entry: Entry) => Promise<void>;
    readonly tellEveryMs?: number;
  }) {
    this.#limit = options.limit;
    this.#run = options.run;
    this.#places = new WaitingPlaces(options.limit, options.tellEveryMs);
  }

  running(tool: ToolName): Entry | null {
    return this.#running.get(tool) ?? null;
  }

  /** Returns the tool's waiting entries in the order of their turns. */
  waiting(tool: ToolName): readonly Entry[] {
    return this.#waiting.filter((entry) => entry.deployment.tool === tool);
  }

  all(): readonly Entry[] {
    return [...this.#running.values(), ...this.#waiting];
  }

  /**
   * Checks that another deployment may wait. The number of waiting deployments of a tool, a person and a deploy token
   * is limited, because each waiting deployment keeps a log open and gets lines about its place.
   *
   * @param leaving - Entries that are not counted, because they will leave the queue.
   * @throws DeployError `LINE_FULL` if another deployment may not wait.
   */
  assertRoom(tool: ToolName, sharer: Sharer, leaving: readonly Entry[] = []): void {
    const { uid, credential } = sharer;
    const token = tokenKey(sharer);
    const staying = this.#waiting.filter((entry) => !leaving.includes(entry));
    const ofTool = staying.filter((entry) => entry.deployment.tool === tool).length;
    const ofPerson = staying.filter((entry) => entry.principal.uid === uid).length;
    const ofToken =
      token === null ? 0 : staying.filter(({ principal }) => tokenKey(principal) === token).length;
    const isToolFull = ofTool >= MAX_WAITING_OF_TOOL;
    const isTokenFull = ofToken >= MAX_WAITING_OF_TOKEN;
    if (!isToolFull && !isTokenFull && ofPerson < MAX_WAITING_OF_PERSON) return;
    const [count, whose] = isToolFull
      ? [ofTool, tool]
      : isTokenFull
        ? [ofToken, `the ${credential}`]
        : [ofPerson, uid];
    throw new DeployError(
      'LINE_FULL',
      `${count} deployments of ${whose} are waiting already`,
      isToolFull
        ? `Wait until some deployments have ended, or cancel one: \`cancel ${tool} ID\``
        : 'Wait until some of your deployments have ended, or cancel one: `cancel TOOL ID`',
    );
  }

  enter(entry: Entry): void {
    this.#waiting.push(entry);
    this.#next();
  }

  /** Removes a waiting entry from the queue. Returns false if the entry does not wait. */
  leave(entry: Entry): boolean {
    const waits = this.#waiting.includes(entry);
    this.#waiting = this.#waiting.filter((other) => other !== entry);
    if (waits) this.#tellPlaces();
    return waits;
  }

  #next(): void {
    for (const entry of this.#mayAnyStart() ? this.#inRotation() : []) {
      if (!this.#mayStart(entry)) continue;
      const { tool } = entry.deployment;
      this.#waiting = this.#waiting.filter((other) => other !== entry);
      this.#running.set(tool, entry);
      this.#places.started(entry);
      void this.#run(entry).finally(() => {
        this.#running.delete(tool);
        this.#places.ended(entry);
        this.#endings += 1;
        for (const key of [toolKey(entry), personKey(entry)]) this.#endedAt.set(key, this.#endings);
        this.#next();
      });
    }
    if (this.#waiting.length === 0) this.#endedAt.clear();
    this.#tellPlaces();
  }

  /** Returns false if no waiting entry can start now. If true, `#mayStart` decides for each entry. */
  #mayAnyStart(): boolean {
    return this.#running.size < this.#limit || this.#waiting.some(({ isResumed }) => isResumed);
  }

  #mayStart(entry: Entry): boolean {
    const { tool } = entry.deployment;
    // Start only the tool's first waiting entry, because the deployments of one tool run in the order of arrival.
    if (this.#running.has(tool) || this.waiting(tool)[0] !== entry) return false;
    // An earlier server process already started this deployment, so the deployment need not wait for a free turn.
    if (entry.isResumed) return true;
    const free = this.#limit - this.#running.size;
    if (free < 1 || free > 1 || this.#limit === 1) return free >= 1;
    return this.#runningOf(personKey(entry)) === 0;
  }

  #runningOf(person: string): number {
    return [...this.#running.values()].filter((entry) => personKey(entry) === person).length;
  }

  /**
   * Sorts the waiting entries in the order of their turns. The person with the fewest running deployments comes first.
   * Among such persons, the one whose last deployment ended longest ago comes first, and then the tool whose last
   * deployment ended longest ago. Once an entry has its place in the order, it counts as a deployment of its person and
   * tool that has just ended. The places of the other entries depend on this.
   */
  #inRotation(): readonly Entry[] {
    const endedAt = new Map(this.#endedAt);
    const running = Map.groupBy(this.#running.values(), personKey);
    const rank = (head: Entry) => [
      running.get(personKey(head))?.length ?? 0,
      endedAt.get(personKey(head)) ?? 0,
      endedAt.get(toolKey(head)) ?? 0,
    ];
    const ordered: Entry[] = [];
    const queues = Map.groupBy(this.#waiting, toolKey);
    while (queues.size > 0) {
      const heads = [...queues.values()].flatMap(([head]) => (head ? [{ head, rank: rank(head) }] : []));
      const first = heads.reduce((best, other) => (isBefore(other.rank, best.rank) ? other : best)).head;
      ordered.push(first);
      const queue = queues.get(toolKey(first)) ?? [];
      queue.shift();
      if (queue.length === 0) queues.delete(toolKey(first));
      for (const key of [toolKey(first), personKey(first)]) endedAt.set(key, this.#endings + ordered.length);
    }
    return ordered;
  }

  #tellPlaces(): void {
    this.#places.tell(this.#inRotation());
  }
}

function isBefore(one: readonly number[], other: readonly number[]): boolean {
  const index = one.findIndex((value, at) => value !== other[at]);
  return index >= 0 && (one[index] ?? 0) < (other[index] ?? 0);
}

function toolKey(entry: Entry): string {
  return `tool ${entry.deployment.tool}`;
}

function personKey(entry: Entry): string {
  return `person ${entry.person}`;
}
