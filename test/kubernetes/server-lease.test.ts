import assert from 'node:assert/strict';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { json } from 'node:stream/consumers';
import { afterEach, beforeEach, test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import type { V1Lease } from '@kubernetes/client-node';
import { DeployError } from '../../src/core/errors.ts';
import { createLog } from '../../src/core/log/log.ts';
import { ServerLease } from '../../src/kubernetes/server-lease.ts';
import { until } from '../support/server.ts';
import { answerJson, type FakeApi, fakeApi, refuse } from './fake-api.ts';

/** The Lease that the fake API stores. Null if it stores no Lease. */
let lease: V1Lease | null;
let version: number;
let isForbidden: boolean;
let isAway: boolean;
let api: FakeApi;
let leases: ServerLease[];

beforeEach(async () => {
  lease = null;
  [version, isForbidden, isAway, leases] = [0, false, false, []];
  api = await fakeApi((_url, response, request) => void answer(response, request));
});
afterEach(async () => {
  await Promise.all(leases.map((each) => each.release()));
  await api.close();
});

async function answer(response: ServerResponse, request: IncomingMessage): Promise<void> {
  if (isAway) return void response.destroy();
  if (isForbidden) return refuse(response, 403, 'Forbidden', 'leases is forbidden');
  if (request.method === 'GET') {
    if (lease === null) return refuse(response, 404, 'NotFound', 'leases "toolforge-push" not found');
    return answerJson(response, lease);
  }
  const body = (await json(request)) as V1Lease;
  if (request.method === 'POST' && lease !== null)
    return refuse(response, 409, 'AlreadyExists', 'there is one');
  if (request.method === 'PUT' && body.metadata?.resourceVersion !== lease?.metadata?.resourceVersion)
    return refuse(response, 409, 'Conflict', 'it has changed');
  version += 1;
  lease = { ...body, metadata: { ...body.metadata, resourceVersion: `${version}` } };
  answerJson(response, lease);
}

async function take(podName: string): Promise<{ lease: ServerLease; lost: DeployError[] }> {
  const lost: DeployError[] = [];
  const taken = await ServerLease.take({
    cluster: api.cluster,
    namespace: 'here',
    podName,
    log: createLog('silent'),
    onLost: (why) => lost.push(why),
    leaseSeconds: 1,
  });
  leases.push(taken);
  return { lease: taken, lost };
}

/** Puts into the fake API the Lease that a killed server would leave. */
async function leftBy(podName: string): Promise<void> {
  const { lease: taken } = await take(podName);
  const left = lease;
  await taken.release();
  lease = left;
}

const refusedWith = (code: string, words: RegExp) => (error: unknown) =>
  error instanceof DeployError && error.code === code && words.test(`${error.message} ${error.hint}`);

test('split brain: the server refuses to start in the second pod of a StatefulSet, and says how to scale to one pod', async () => {
  await assert.rejects(
    take('toolforge-push-1'),
    refusedWith('NOT_FIRST', /kubectl -n here scale statefulset toolforge-push --replicas=1/),
  );
  assert.deepEqual(api.asked, []);
});

test('split brain: a server refuses to start while another server renews the Lease', async () => {
  const first = await take('one-0');
  await assert.rejects(
    take('two-0'),
    refusedWith('ANOTHER_SERVER', /one-0 holds the Lease.*scale statefulset one/),
  );
  assert.deepEqual(first.lost, []);
});

test('split brain: if two servers start at the same time, only one gets the Lease', async () => {
  const results = await Promise.allSettled([take('one-0'), take('two-0')]);
  assert.deepEqual(results.map(({ status }) => status).toSorted(), ['fulfilled', 'rejected']);
});

test('the Lease of a killed server does not delay a server whose pod has the same name', async () => {
  await leftBy('one-0');
  const start = performance.now();
  await take('one-0');
  assert.ok(performance.now() - start < 900);
});

test('a server whose pod has another name waits until the Lease of a killed server has expired', async () => {
  await leftBy('one-0');
  const start = performance.now();
  const { lost } = await take('two-0');
  assert.ok(performance.now() - start > 1000);
  await wait(500);
  assert.deepEqual(lost, []);
});

test('a server that ends gives its Lease back, so that the next server need not wait', async () => {
  const { lease: taken } = await take('one-0');
  await taken.release();
  assert.equal(lease?.spec?.holderIdentity, '');
  const start = performance.now();
  await take('two-0');
  assert.ok(performance.now() - start < 900);
});

test('split brain: a server notices that another server has taken its Lease, even in a pod of the same name', async () => {
  const first = await take('one-0');
  await take('one-0');
  await until(async () => first.lost.length === 1, 'the first hears of it');
  assert.equal(first.lost[0]?.code, 'ANOTHER_SERVER');
  const holder = lease?.spec?.holderIdentity;
  await first.lease.release();
  assert.equal(lease?.spec?.holderIdentity, holder);
});

test('the server restores its Lease if somebody has deleted or edited it by hand', async () => {
  const { lost } = await take('one-0');
  const holder = lease?.spec?.holderIdentity;
  lease = null;
  await until(async () => lease !== null, 'it is there again');
  lease = { ...(lease as unknown as V1Lease), metadata: { resourceVersion: 'edited' } };
  await until(async () => lease?.metadata?.resourceVersion !== 'edited', 'it is renewed');
  assert.deepEqual([lease?.spec?.holderIdentity, lost], [holder, []]);
});

test('while the cluster’s API does not answer, the server continues and keeps its Lease', async () => {
  const { lost } = await take('one-0');
  isAway = true;
  await wait(2500);
  isAway = false;
  const before = version;
  await until(async () => version > before, 'it is renewed');
  assert.deepEqual(lost, []);
});

test('a server without the right to its Lease refuses to start, and a running server that loses the right gets the error NO_LEASE', async () => {
  const { lost } = await take('one-0');
  isForbidden = true;
  await assert.rejects(
    take('one-0'),
    refusedWith('NO_LEASE', /use the Lease.*Apply deploy\/kubernetes again/),
  );
  await until(async () => lost.length === 1, 'it hears of it');
  assert.equal(lost[0]?.code, 'NO_LEASE');
});
