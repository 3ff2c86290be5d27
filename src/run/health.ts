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
  readonly signal: AbortSignal;
  /** Called now and then while it is not healthy, with what was seen last. */
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
  | { readonly kind: 'healthy' }
  | { readonly kind: 'exited'; readonly exit: Exit }
  | { readonly kind: 'timed-out'; readonly seen: Seen };

const PAUSE_MS = 60;
const FIRST_SEEN_MS = 5000;
const SEEN_AGAIN_MS = 30_000;
const ANSWER_MS = 10_000;
const TOO_LATE = `did not answer within ${ANSWER_MS / 1000} s`;

/** Waits until a web process answers. @throws AbortError when the signal fires. */
export async function untilHealthy(check: HealthCheck): Promise<Readiness> {
  const exited = check.process.exited.then((exit) => ({ kind: 'exited' as const, exit }));
  const start = performance.now();
  let last = { message: '', at: start };
  for (;;) {
    check.signal.throwIfAborted();
    const seen = await Promise.race([exited, look(check)]);
    if (seen === null) return { kind: 'healthy' };
    if ('exit' in seen) return seen;
    if (performance.now() - start > check.timeoutMs) return { kind: 'timed-out', seen };
    const quietMs = performance.now() - last.at;
    if (quietMs > (seen.soFar === last.message ? SEEN_AGAIN_MS : FIRST_SEEN_MS)) {
      check.onSeen(seen);
      last = { message: seen.soFar, at: performance.now() };
    }
    await Promise.race([exited, wait(PAUSE_MS, null, { signal: check.signal })]);
  }
}

/** Waits until a process without a port has stayed up for a while. @throws AbortError when the signal fires. */
export async function untilSettled(
  process: SandboxProcess,
  settleMs: number,
  signal: AbortSignal,
): Promise<Readiness> {
  const exited = process.exited.then((exit) => ({ kind: 'exited' as const, exit }));
  return await Promise.race([exited, wait(settleMs, { kind: 'healthy' as const }, { signal })]);
}

/** Null = healthy. */
async function look(check: HealthCheck): Promise<Seen | null> {
  const ports = await check.process.listeningPorts();
  if (!ports.includes(check.insidePort)) return wrongPort(check, ports);
  if (check.path === null) {
    // Servers that fork accept before they have loaded the tool: only an answer, whatever its status, shows it.
    const first = await get(check.outsidePort, '/', check.host);
    if (typeof first === 'number' || first === TOO_LATE) return null;
    return seenAs(
      `${check.name} listens on port ${check.insidePort} but closes connections without an answer`,
      'Make it answer HTTP on 0.0.0.0, the address for all of IPv4, and push again.',
    );
  }
  const answer = await get(check.outsidePort, check.path, check.host);
  if (typeof answer === 'number' && answer >= 200 && answer < 400) return null;
  return seenAs(
    `GET ${check.path} ${typeof answer === 'number' ? `answered ${answer}` : answer}`,
    'The health check path must answer with a status from 200 to 399: mend it, or change health-check-path in service.template.',
  );
}

function wrongPort({ name, insidePort }: HealthCheck, ports: readonly number[]): Seen {
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
function get(port: number, path: string, host: string): Promise<number | string> {
  return new Promise((resolve) => {
    const headers = { host, 'user-agent': 'toolforge-push (health check)', connection: 'close' };
    const outgoing = request({ host: '127.0.0.1', port, path, headers, agent: false }, (response) => {
      resolve(response.statusCode ?? 0);
      response.destroy();
    });
    outgoing.setTimeout(ANSWER_MS, () => {
      resolve(TOO_LATE);
      outgoing.destroy();
    });
    outgoing.once('error', () => resolve('closed the connection without an answer'));
    outgoing.end();
  });
}
