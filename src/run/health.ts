import { request } from 'node:http';
import { setTimeout as wait } from 'node:timers/promises';
import type { Exit, SandboxProcess } from '../sandbox/sandbox.ts';

export interface HealthCheck {
  readonly process: SandboxProcess;
  readonly name: string;
  /** Where it is reached, at 127.0.0.1. */
  readonly outsidePort: number;
  /** What PORT says. */
  readonly insidePort: number;
  /** Null: any answer will do, and an open connection that is not answered for 10 s. */
  readonly path: string | null;
  /** The Host header of a request. */
  readonly host: string;
  readonly timeoutMs: number;
  /** How long it may listen on other ports only, if that is less; 15,000 where not set. */
  readonly elsewhereMs?: number;
  /** What is seen all the time is told anew after this long; 30,000 where not set. */
  readonly againMs?: number;
  readonly signal: AbortSignal;
  /** Called while it is not healthy and has not been for a while, for each thing that is seen, and now and then anew. */
  readonly onSeen: (seen: Seen) => void;
}

/** What stood in the way, for people at a push. */
export interface Seen {
  readonly message: string;
  readonly hint: string;
  /** The message while there is still hope. */
  readonly soFar: string;
}

export type Readiness =
  /** The remark is what people should know although it counts as healthy: `GET / answers 500`; null = nothing. */
  | { readonly kind: 'healthy'; readonly remark: string | null }
  | { readonly kind: 'exited'; readonly exit: Exit }
  | { readonly kind: 'timed-out'; readonly seen: Seen; readonly waitedMs: number };

const PAUSE_MS = 60;
/** After a while: what is not healthy by then takes its time, and each look stands in its log. */
const LATER_PAUSE_MS = 500;
const FIRST_SEEN_MS = 5000;
const AGAIN_MS = 30_000;
const ELSEWHERE_MS = 15_000;
const ANSWER_MS = 10_000;
/** What a look that got no answer in time has seen. */
export const TOO_LATE = `did not answer within ${ANSWER_MS / 1000} s`;

/** Waits until a web process answers. @throws AbortError when the signal fires. */
export async function untilHealthy(check: HealthCheck): Promise<Readiness> {
  const exited = check.process.exited.then((exit) => ({ kind: 'exited' as const, exit }));
  const { timeoutMs, elsewhereMs = ELSEWHERE_MS, againMs = AGAIN_MS } = check;
  const start = performance.now();
  let last = { soFar: '', at: start };
  let elsewhereAt: number | null = null;
  for (;;) {
    check.signal.throwIfAborted();
    const found = await Promise.race([exited, look(check)]);
    if (found.kind !== 'not-yet') return found;
    check.signal.throwIfAborted();
    const { seen, isElsewhere } = found;
    const now = performance.now();
    elsewhereAt = isElsewhere ? (elsewhereAt ?? now) : null;
    if (now - start > timeoutMs) return { kind: 'timed-out', seen, waitedMs: timeoutMs };
    if (elsewhereAt !== null && now - elsewhereAt > elsewhereMs)
      return { kind: 'timed-out', seen, waitedMs: elsewhereMs };
    const isNew = seen.soFar !== last.soFar;
    if (now - last.at > (isNew ? FIRST_SEEN_MS : againMs)) {
      const left = Math.round((timeoutMs - (now - start)) / 1000);
      check.onSeen(isNew ? seen : { ...seen, soFar: `${seen.soFar}; waiting ${left} s more` });
      last = { soFar: seen.soFar, at: now };
    }
    const pause = now - start > FIRST_SEEN_MS ? LATER_PAUSE_MS : PAUSE_MS;
    await Promise.race([exited, wait(pause, null, { signal: check.signal })]);
  }
}

/** Waits until a process without a port has stayed up for a while. @throws AbortError when the signal fires. */
export async function untilSettled(
  process: SandboxProcess,
  settleMs: number,
  signal: AbortSignal,
): Promise<Readiness> {
  const exited = process.exited.then((exit) => ({ kind: 'exited' as const, exit }));
  return await Promise.race([exited, wait(settleMs, { kind: 'healthy' as const, remark: null }, { signal })]);
}

type Look =
  | Extract<Readiness, { kind: 'healthy' }>
  | { readonly kind: 'not-yet'; readonly seen: Seen; readonly isElsewhere: boolean };

async function look(check: HealthCheck): Promise<Look> {
  const ports = await check.process.listeningPorts();
  if (!ports.includes(check.insidePort)) return notYet(wrongPort(check, ports), ports.length > 0);
  if (check.path === null) {
    // Servers that fork accept before they have loaded the tool: only an answer, whatever its status, shows it.
    const first = await get(check, '/');
    if (typeof first === 'number') return healthy(first < 400 ? null : `GET / answers ${first}`);
    if (first === TOO_LATE) return healthy(`GET / ${TOO_LATE}`);
    return notYet(closesConnections(check));
  }
  const answer = await get(check, check.path);
  if (typeof answer === 'number' && answer >= 200 && answer < 400) return healthy(null);
  return notYet(illAnswer(check.path, answer));
}

function healthy(remark: string | null): Look {
  return { kind: 'healthy', remark };
}

function notYet(seen: Seen, isElsewhere = false): Look {
  return { kind: 'not-yet', seen, isElsewhere };
}

type Port = Pick<HealthCheck, 'name' | 'insidePort'>;

export function closesConnections({ name, insidePort }: Port): Seen {
  return seenAs(
    `${name} listens on port ${insidePort} but closes connections without an answer`,
    'Make it answer HTTP on 0.0.0.0, the address for all of IPv4, and push again.',
  );
}

/** The health check path answered with this status, or why it did not. */
export function illAnswer(path: string, answer: number | string): Seen {
  return seenAs(
    `GET ${path} ${typeof answer === 'number' ? `answered ${answer}` : answer}`,
    'The health check path must answer with a status from 200 to 399: mend it, or change health-check-path in service.template.',
  );
}

/** Nothing listens on PORT, but perhaps on these. */
export function wrongPort({ name, insidePort }: Port, ports: readonly number[]): Seen {
  const hint = `Make it listen on the port that the environment variable PORT names (here ${insidePort}), on 0.0.0.0, and push again.`;
  if (ports.length === 0) {
    return { message: `${name} never opened a port`, hint, soFar: `${name} has not opened a port yet` };
  }
  const which = `port${ports.length === 1 ? '' : 's'} ${ports.join(', ')}`;
  const message = `${name} listens on ${which}, not on PORT (${insidePort})`;
  return { message, hint, soFar: `${message}; the push waits for that one` };
}

function seenAs(message: string, hint: string): Seen {
  return { message, hint, soFar: message };
}

/** The status, or why there was none. */
function get({ outsidePort: port, host, signal }: HealthCheck, path: string): Promise<number | string> {
  const limit = AbortSignal.timeout(ANSWER_MS);
  return new Promise((resolve) => {
    const headers = { host, 'user-agent': 'toolforge-push (health check)', connection: 'close' };
    const whole = AbortSignal.any([signal, limit]);
    const options = { host: '127.0.0.1', port, path, headers, agent: false, signal: whole };
    const outgoing = request(options, (response) => {
      resolve(response.statusCode ?? 0);
      response.destroy();
    });
    const noAnswer = () => resolve(limit.aborted ? TOO_LATE : 'closed the connection without an answer');
    // A tool that goes over to another protocol unasked ends it without an error.
    outgoing.on('error', noAnswer).once('close', noAnswer);
    outgoing.end();
  });
}
