import assert from 'node:assert/strict';
import { cpus } from 'node:os';
import { after, before, type TestContext, test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { Attacker } from '../support/hostile/attacker.ts';
import { KINDS, type Kind } from '../support/hostile/attacks.ts';
import { makeNeighbourhood, type Neighbourhood } from '../support/hostile/neighbourhood.ts';
import { FIGURES, type Figure, type Times } from '../support/hostile/ordinary.ts';
import { TestServer } from '../support/server.ts';

const MAX_RATIO = 3;
const ROUNDS = 3;
const WINDOW_MS = 4_000;
/** The pause between the beginning of an attack and the measurement of ordinary traffic. */
const WARM_UP_MS = 1_000;
/** The pause between the end of an attack and the next measurement. */
const REST_MS = 500;
/** An attack that is not ended earlier ends by itself after this time. */
const ATTACK_SECONDS = 60;
/** The test fails only if an attack slows others too much in each attempt, because one slow attempt may be a busy moment. */
const ATTEMPTS = 3;

/** The part of the processor time that must be idle before the test begins. */
const LEAST_IDLE = 0.7;
/** How many times the test looks, for 2 s each, whether the processors are idle. If they never are, it is skipped. */
const IDLE_LOOKS = 30;

let server: TestServer;
let neighbourhood: Neighbourhood;
before(async () => {
  server = await TestServer.start();
  neighbourhood = await makeNeighbourhood(server, ATTACK_SECONDS);
  await neighbourhood.ordinary.during(WINDOW_MS / 2);
});
after(async () => server[Symbol.asyncDispose]());

type Measured = Map<Kind | 'quiet', Record<Figure, number[]>>;

/**
 * Measures ordinary requests to a real server. Short windows with and without attacks alternate, so that other work of
 * the machine slows down both. @returns the times for each kind of attack and, as `quiet`, without an attack.
 */
async function measure(context: TestContext, kinds: readonly Kind[]): Promise<Measured> {
  const measured: Measured = new Map();
  const add = (kind: Kind | 'quiet', times: Times) => {
    const all = measured.get(kind) ?? { page: [], 'ls-remote': [], push: [] };
    for (const figure of FIGURES) all[figure].push(...times[figure]);
    measured.set(kind, all);
  };
  for (let round = 0; round < ROUNDS; round += 1) {
    add('quiet', await neighbourhood.ordinary.during(WINDOW_MS));
    for (const kind of kinds) {
      await using attacker = new Attacker(kind, neighbourhood.target);
      await attacker.begun();
      await wait(WARM_UP_MS);
      add(kind, await neighbourhood.ordinary.during(WINDOW_MS));
      const done = await attacker.end();
      context.diagnostic(`${kind}: ${JSON.stringify(done)}`);
      const counts = Object.values(done);
      assert.ok(counts.length > 0 && !counts.includes(0), 'an attack did nothing');
      await wait(REST_MS);
    }
  }
  return measured;
}

/** Returns a sentence for each figure that is more than {@link MAX_RATIO} times as slow during the attack as without. */
function tooSlow(context: TestContext, measured: Measured, kind: Kind): string[] {
  return FIGURES.flatMap((figure) => {
    const [quiet = [], hostile = []] = [measured.get('quiet')?.[figure], measured.get(kind)?.[figure]];
    const ratio = p99(hostile) / p99(quiet);
    const sentence = `${figure} beside a hostile ${kind}: ${shown(hostile)}, ${shown(quiet)} when quiet: ${ratio.toFixed(1)} ×`;
    context.diagnostic(sentence);
    return ratio <= MAX_RATIO ? [] : [sentence];
  });
}

/** The 99th percentile. Of fewer than 100 values, it is the second largest, because the largest may be chance. */
function p99(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const index = Math.min(Math.ceil(sorted.length * 0.99) - 1, sorted.length - 2);
  return sorted[Math.max(0, index)] ?? Number.NaN;
}

function shown(values: readonly number[]): string {
  const median = values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
  return `p99 ${Math.round(p99(values))} ms (median ${Math.round(median)} ms, ${values.length} times)`;
}

/**
 * Waits up to a minute until the machine has little other work. @returns false if it stays busy: measurements would then
 * depend on the other work.
 */
async function isCalm(): Promise<boolean> {
  for (let look = 0; look < IDLE_LOOKS; look += 1) {
    const before = processorTimes();
    await wait(2_000);
    const after = processorTimes();
    if ((after.idle - before.idle) / (after.all - before.all) >= LEAST_IDLE) return true;
  }
  return false;
}

function processorTimes(): { readonly idle: number; readonly all: number } {
  const times = cpus().map((cpu) => cpu.times);
  const all = times.flatMap((one) => Object.values(one)).reduce((sum, part) => sum + part, 0);
  return { idle: times.reduce((sum, { idle }) => sum + idle, 0), all };
}

test('threat 55: during an attack of a hostile tool, person or address, pages, `git ls-remote` and pushes of others take at most three times as long as without attacks', async (context) => {
  if (!(await isCalm())) return context.skip('the machine has too much other work');
  let kinds: readonly Kind[] = KINDS;
  let sentences: string[] = [];
  for (let attempt = 0; attempt < ATTEMPTS && kinds.length > 0; attempt += 1) {
    const measured = await measure(context, kinds);
    const slow = kinds.map((kind) => [kind, tooSlow(context, measured, kind)] as const);
    sentences = slow.flatMap(([, some]) => some);
    kinds = slow.flatMap(([kind, some]) => (some.length > 0 ? [kind] : []));
  }
  assert.deepEqual(sentences, []);
});
