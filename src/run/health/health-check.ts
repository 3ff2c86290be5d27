import { setTimeout as wait } from 'node:timers/promises';
import { systemCode } from '../../core/errors.ts';
import { request } from '../../core/network/node-http.ts';
import type { Exit, SandboxProcess } from '../../sandbox/sandbox.ts';
import { PatientQuestion } from './patient-question.ts';

export interface HealthCheck {
  readonly process: SandboxProcess;
  readonly name: string;
  /** The port of 127.0.0.1 on this machine that reaches the process. */
  readonly outsidePort: number;
  /** The value of the process's environment variable PORT. */
  readonly insidePort: number;
  /**
   * The path of the health check, which must answer with a status from 200 to 399. If null, any status of `GET /`
   * counts as healthy.
   */
  readonly path: string | null;
  /** The Host header that the health check sends. */
  readonly host: string;
  readonly timeoutMs: number;
  /**
   * How many milliseconds the process may listen only on ports other than PORT before the check fails, but at most
   * `timeoutMs`. 15,000 by default.
   */
  readonly elsewhereMs?: number;
  /** After how many milliseconds an unchanged problem is reported again; 30,000 by default. */
  readonly againMs?: number;
  /**
   * Returns the last output of the process, with config vars masked. The output may say that worker processes, for
   * example those of gunicorn, have died.
   */
  readonly lastLines?: () => Promise<readonly string[]>;
  readonly signal: AbortSignal;
  /**
   * Called while the process is not healthy. A new problem is reported at the earliest 5 s after the start or the last
   * call, an unchanged problem every `againMs`.
   */
  readonly onSeen: (seen: Seen) => void;
}

/** Explains to the person who pushed why a process is not healthy. */
export interface Seen {
  readonly message: string;
  readonly hint: string;
  /** The message to show while the server still waits for the process to become healthy. */
  readonly soFar: string;
  /** True if the process listens on no port, so an error in its output is probably the reason. */
  readonly hasNoPort?: boolean;
}

export type Readiness =
  /**
   * `remark` is a problem that does not prevent health, such as `GET / answers 500`. Null if there is no such problem.
   */
  | { readonly kind: 'healthy'; readonly remark: string | null }
  | { readonly kind: 'exited'; readonly exit: Exit }
  | { readonly kind: 'timed-out'; readonly seen: Seen; readonly waitedMs: number };

/** The HTTP status of the process's answer, or the reason why there was no answer. */
export type WebAnswer = number | 'closed' | 'not HTTP' | 'too late';

const PAUSE_MS = 60;
/**
 * The pause between two checks of the process after the first 5 s. It is longer than `PAUSE_MS`, because the tool may
 * log the request of each check.
 */
const LATER_PAUSE_MS = 500;
const FIRST_SEEN_MS = 5000;
const AGAIN_MS = 30_000;
const ELSEWHERE_MS = 15_000;
/** How many interim answers, such as `102 Processing`, may come before the final answer. */
const MAX_INTERIM_ANSWERS = 16;
/** A message names at most this many ports. */
const MAX_NAMED_PORTS = 5;

/**
 * Waits until a web process is healthy or exits. Gives up after `timeoutMs`, or earlier if the process has listened
 * only on ports other than PORT for `elsewhereMs`. Only a complete HTTP head counts as an answer; an open connection
 * does not.
 *
 * @throws AbortError or the signal's reason when the signal fires.
 */
export async function untilHealthy(check: HealthCheck): Promise<Readiness> {
  const over = new AbortController();
  const { signal, timeoutMs, path } = check;
  const limit = AbortSignal.any([signal, over.signal, AbortSignal.timeout(timeoutMs)]);
  const question = new PatientQuestion((until) => get(check, path ?? '/', until), limit);
  try {
    return await untilAnswered(check, () => question.next());
  } finally {
    over.abort();
  }
}

async function untilAnswered(check: HealthCheck, ask: () => Promise<WebAnswer>): Promise<Readiness> {
  const exited = check.process.exited.then((exit) => ({ kind: 'exited' as const, exit }));
  const { timeoutMs, elsewhereMs = ELSEWHERE_MS, againMs = AGAIN_MS } = check;
  const start = performance.now();
  let last = { soFar: '', at: start };
  let elsewhereAt: number | null = null;
  /**
   * What was wrong with the process at the last check that ended before the time limit. Null if that check sent no
   * request, because the process did not listen on PORT.
   */
  let answered: Seen | null = null;
  for (;;) {
    check.signal.throwIfAborted();
    const found = await Promise.race([exited, look(check, ask)]);
    if (found.kind !== 'not-yet') return found;
    check.signal.throwIfAborted();
    const { seen, isElsewhere } = found;
    const now = performance.now();
    const leftMs = start + timeoutMs - now;
    elsewhereAt = isElsewhere ? (elsewhereAt ?? now) : null;
    // The time limit may have ended the last request too early, so the result of the earlier request says more.
    if (leftMs <= 0) return { kind: 'timed-out', seen: answered ?? seen, waitedMs: timeoutMs };
    answered = found.wasAsked ? seen : null;
    if (elsewhereAt !== null && now - elsewhereAt > elsewhereMs)
      return { kind: 'timed-out', seen, waitedMs: elsewhereMs };
    const isNew = seen.soFar !== last.soFar;
    if (now - last.at > (isNew ? FIRST_SEEN_MS : againMs)) {
      const left = Math.round(leftMs / 1000);
      check.onSeen(isNew ? seen : { ...seen, soFar: `${seen.soFar}; waiting ${left} s more` });
      last = { soFar: seen.soFar, at: now };
    }
    const pause = Math.min(now - start > FIRST_SEEN_MS ? LATER_PAUSE_MS : PAUSE_MS, leftMs);
    await Promise.race([exited, wait(pause, null, { signal: check.signal })]);
  }
}

/** Waits until a process without a port has run for `settleMs`, or exits. @throws AbortError when the signal fires. */
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
  | {
      readonly kind: 'not-yet';
      readonly seen: Seen;
      readonly isElsewhere: boolean;
      readonly wasAsked: boolean;
    };

async function look(check: HealthCheck, ask: () => Promise<WebAnswer>): Promise<Look> {
  const ports = await check.process.listeningPorts();
  if (!ports.includes(check.insidePort)) {
    const seen = wrongPort(check, ports);
    return { kind: 'not-yet', seen, isElsewhere: ports.length > 0, wasAsked: false };
  }
  const answer = await ask();
  const lines = typeof answer === 'number' ? [] : await check.lastLines?.();
  const verdict = judge(answer, { ...check, lines: lines ?? [] });
  return verdict.kind === 'healthy' ? verdict : { ...verdict, isElsewhere: false, wasAsked: true };
}

export type Verdict =
  | Extract<Readiness, { kind: 'healthy' }>
  | { readonly kind: 'not-yet'; readonly seen: Seen };

export interface Asked extends Port {
  /** The health check path. If null, an answer with any status counts. */
  readonly path: string | null;
  /** The last output of the process, with config vars masked. */
  readonly lines: readonly string[];
}

/** Decides from the answer of a web process whether the process is healthy. */
export function judge(answer: WebAnswer, asked: Asked): Verdict {
  const { path } = asked;
  if (typeof answer !== 'number') return { kind: 'not-yet', seen: unanswered(answer, asked) };
  if (path === null)
    return { kind: 'healthy', remark: answer >= 200 && answer < 400 ? null : `GET / answers ${answer}` };
  if (answer >= 200 && answer < 400) return { kind: 'healthy', remark: null };
  return {
    kind: 'not-yet',
    seen: seenAs(
      `GET ${path} answered ${answer}`,
      'The health check path must answer with a status from 200 to 399. Fix the answer, or change health-check-path in service.template.',
    ),
  };
}

type Port = Pick<HealthCheck, 'name' | 'insidePort'>;

function unanswered(answer: Exclude<WebAnswer, number>, asked: Asked): Seen {
  const { name, insidePort, lines } = asked;
  const path = asked.path ?? '/';
  const dying = dyingWorkers(lines);
  if (dying !== null && answer !== 'not HTTP') {
    const message = `${name} does not answer GET ${path}: its workers ${dying.how}`;
    return { message, hint: dying.hint, soFar: `${message}; it printed: ${dying.line}` };
  }
  switch (answer) {
    case 'too late':
      return {
        message: `${name} accepted connections on port ${insidePort} but never answered GET ${path}`,
        hint: `See the last output of the process. Make the first answer come sooner${asked.path === null ? ', or name a path that answers as health-check-path in service.template,' : ''} and push again.`,
        soFar: `${name} has accepted GET ${path} but has not answered yet`,
      };
    case 'closed':
      return seenAs(
        `${name} listens on port ${insidePort} but closes connections without an answer to GET ${path}`,
        'Make the process answer HTTP on 0.0.0.0, the address for all of IPv4, and push again.',
      );
    case 'not HTTP':
      return seenAs(
        `${name} listens on port ${insidePort} but does not answer in HTTP/1.1`,
        'Make the process speak plain HTTP/1.1 on PORT, without TLS, and push again.',
      );
    default:
      return answer satisfies never;
  }
}

// Matches what gunicorn, uWSGI, uvicorn, PHP-FPM, Apache httpd and Node.js's cluster module print when a worker dies.
const DEATH =
  /\b(?:worker|child)\b.{0,80}\b(?:died|SIGKILL|SIGSEGV|signal \d+|exited with code|failed to boot|timeout)\b|\bWORKER TIMEOUT\b|\bchild pid \d+ exit signal\b/i;
const KILLED = /SIGKILL|signal:? 9\b|Killed \(9\)|out of memory/i;
const MAX_LINE_CHARACTERS = 160;

interface Dying {
  readonly how: string;
  readonly hint: string;
  readonly line: string;
}

/** Explains why the workers of a server program die, if lines of its output say that they die. Otherwise null. */
function dyingWorkers(lines: readonly string[]): Dying | null {
  const dead = lines.filter((line) => DEATH.test(line.slice(0, 1000)));
  const line = dead.at(-1)?.trim().slice(0, MAX_LINE_CHARACTERS);
  if (line === undefined) return null;
  return dead.some((one) => KILLED.test(one.slice(0, 1000)))
    ? {
        line,
        how: 'are killed, as happens when they need too much memory',
        hint: 'Start fewer workers, make them need less memory, or ask for more memory (mem in service.template). Then push again.',
      }
    : {
        line,
        how: 'end before they answer',
        hint: 'The last output of the process gives the reason. Fix the error and push again.',
      };
}

/** Returns the problem of a process that listens on no port, or only on ports other than PORT. */
export function wrongPort({ name, insidePort }: Port, ports: readonly number[]): Seen {
  const hint = `Make the process listen on the port that the environment variable PORT names (here ${insidePort}), on 0.0.0.0, and push again.`;
  if (ports.length === 0) {
    return {
      message: `${name} never opened a port`,
      hint: `${hint} If the tool is a bot that serves no requests, write its command as \`worker: COMMAND\` into a Procfile, push, and start it with \`scale TOOL worker=1\`.`,
      soFar: `${name} has not opened a port yet`,
      hasNoPort: true,
    };
  }
  const more = ports.length - MAX_NAMED_PORTS;
  const named = ports.slice(0, MAX_NAMED_PORTS).join(', ');
  const which = `port${ports.length === 1 ? '' : 's'} ${named}${more > 0 ? ` and ${more} more` : ''}`;
  const message = `${name} listens on ${which}, not on PORT (${insidePort})`;
  return { message, hint, soFar: `${message}; the push waits until it listens on PORT` };
}

function seenAs(message: string, hint: string): Seen {
  return { message, hint, soFar: message };
}

/** Sends one GET request to the process. @throws the signal's reason when it fires. */
function get(
  { outsidePort: port, host }: HealthCheck,
  path: string,
  signal: AbortSignal,
): Promise<Exclude<WebAnswer, 'too late'>> {
  return new Promise((resolve, reject) => {
    const headers = { host, 'user-agent': 'toolforge-push (health check)', connection: 'close' };
    const outgoing = request({ host: '127.0.0.1', port, path, headers, agent: false, signal });
    let interim = 0;
    outgoing
      .on('response', (response) => {
        resolve(response.statusCode ?? 0);
        response.destroy();
      })
      // Some WebSocket servers switch protocols without being asked. Their status 101 is an answer too.
      .on('upgrade', ({ statusCode = 101 }, socket) => {
        resolve(statusCode);
        socket.destroy();
      })
      .on('information', () => {
        interim += 1;
        if (interim > MAX_INTERIM_ANSWERS) outgoing.destroy();
      })
      .on('error', (error) => {
        if (signal.aborted) reject(signal.reason);
        else resolve(isOtherProtocol(error) ? 'not HTTP' : 'closed');
      })
      .once('close', () => resolve('closed'));
    outgoing.end();
  });
}

/** True if the error says that the answer was not HTTP/1.1. A head that is only too long does not count. */
export function isOtherProtocol(error: unknown): boolean {
  return /^HPE_(?!HEADER_OVERFLOW)/.test(systemCode(error) ?? '');
}
