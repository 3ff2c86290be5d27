import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { describe, test } from 'node:test';
import type { ToolName } from '../../../../src/core/names.ts';
import type { Artifact, Release } from '../../../../src/core/types.ts';
import { OtherPorts, portsToAsk } from '../../../../src/run/kubernetes/pods/other-ports.ts';
import type { ToolPod } from '../../../../src/run/kubernetes/pods/tool-pods.ts';
import { fakeApi, refuse } from '../../../kubernetes/fake-api.ts';
import { releaseOf } from '../../contract-steps.ts';

const process = { type: 'web', command: ['gunicorn', '-b', ':9123', 'app'], isDefault: true };
const release: Release = releaseOf(
  'wikibot' as ToolName,
  1,
  { processes: [process], service: {} } as unknown as Artifact,
  {
    API_PORT: '7777',
    TIMEOUT: '6666',
  },
);
const pod = { name: 'web.1', namespace: 'tool-wikibot', podName: 'p' } as ToolPod;
const signal = new AbortController().signal;

/** The answer of the API server's proxy for a closed port. */
const closed = (response: ServerResponse) =>
  refuse(
    response,
    503,
    'ServiceUnavailable',
    'error trying to reach service: dial tcp 10.88.0.9:1: connect: connection refused',
  );

/**
 * Looks for the ports of a pod that has printed `printed`. `answers` has the answers of its ports, by number. All other
 * ports give the answer of port 0, or are closed if there is none.
 */
async function look(answers: Readonly<Record<number, (response: ServerResponse) => void>>, printed = '') {
  const api = await fakeApi(({ pathname }, response) => {
    const port = Number(/:(\d+)\/proxy\//.exec(pathname)?.[1] ?? 0);
    if (port === 0) return void response.setHeader('content-type', 'text/plain').end(printed);
    (answers[port] ?? answers[0] ?? closed)(response);
  });
  try {
    const others = new OtherPorts({ cluster: api.cluster, release, process, signal });
    await others.look(pod);
    return { seen: others.seenOf(pod), isElsewhere: others.elsewhereMs !== null, asked: api.asked };
  } finally {
    await api.close();
  }
}

describe('the other ports of a process that does not listen on PORT', () => {
  test('if a web process does not listen on PORT, the push names a usual port, such as 5000, that gives any answer', async () => {
    const { seen, isElsewhere } = await look({ 5000: (response) => response.writeHead(500).end('boom') });
    assert.equal(seen.message, 'web.1 listens on port 5000, not on PORT (8000)');
    assert.ok(isElsewhere);
  });

  test('a port of a pod that accepts a request but never answers counts as open if the pod’s other ports are closed', async () => {
    const { seen } = await look({ 9123: () => {} });
    assert.equal(seen.message, 'web.1 listens on port 9123, not on PORT (8000)');
  });

  test('if all ports of a pod leave requests unanswered, none counts as open', async () => {
    const { seen, isElsewhere } = await look({ 0: () => {} });
    assert.equal(seen.message, 'web.1 never opened a port that others can reach');
    assert.ok(!isElsewhere);
  });

  test('if more than two ports of a pod leave requests unanswered, none of these ports counts as open, because the node is busy', async () => {
    const silent = () => {};
    const { seen } = await look({ 3000: silent, 5000: silent, 9123: silent });
    assert.equal(seen.message, 'web.1 never opened a port that others can reach');
  });

  test('a port of 127.0.0.1 in a process’s output is shown to the person who pushed, but does not count as open', async () => {
    const { seen, isElsewhere } = await look({}, ' * Debug mode: off\n * Running on http://127.0.0.1:8000\n');
    assert.equal(seen.message, 'web.1 never opened a port that others can reach; it printed 127.0.0.1:8000');
    assert.match(seen.hint, /on 0\.0\.0\.0.*127\.0\.0\.1/);
    assert.ok(!isElsewhere);
  });

  test('the search for other ports sends requests to the pod only at intervals, however often the search is called', async () => {
    const api = await fakeApi((_url, response) => closed(response));
    const others = new OtherPorts({ cluster: api.cluster, release, process, signal });
    await others.look(pod);
    const count = api.asked.length;
    await others.look(pod);
    assert.equal(api.asked.length, count);
    await api.close();
  });
});

describe('the ports that are asked', () => {
  for (const { line, port } of [
    { line: 'Listening at: http://0.0.0.0:4242 (7)', port: 4242 },
    { line: 'listening on port 4243', port: 4243 },
    { line: 'bound to [::]:4244', port: 4244 },
    { line: 'serving *:4245', port: 4245 },
    { line: 'Local: http://localhost:4246/', port: 4246 },
  ]) {
    test(`the server tries the port that this line of a process’s output names: ${line}`, () =>
      assert.ok(portsToAsk({ process, release, lines: [line] }).includes(port)));
  }

  test('the server tries ports that the command and config vars such as API_PORT name, but neither PORT nor a number in a time of day', () => {
    const ports = portsToAsk({ process, release, lines: ['[12:34:88] port 8000 of 10', 'port 99999'] });
    assert.ok(ports.includes(9123) && ports.includes(7777) && ports.includes(5000));
    for (const port of [8000, 6666, 88, 99_999, 10]) assert.ok(!ports.includes(port), String(port));
  });

  for (const [name, line] of [
    ['letters', 'a'.repeat(200_000)],
    ['full stops', `${'.'.repeat(200_000)} :`],
    ['colons', ':'.repeat(200_000)],
    ['almost ports', 'a:1'.repeat(70_000)],
    ['ports', 'port '.repeat(40_000)],
  ] as const) {
    test(`a line of output with many ${name} does not slow down the search for ports`, () => {
      const began = performance.now();
      portsToAsk({ process, release, lines: [line] });
      assert.ok(performance.now() - began < 1000);
    });
  }

  test('if a process prints hundreds of ports, the server tries at most 32, among them the newest', () => {
    const lines = Array.from({ length: 500 }, (_, index) => `port ${10_000 + index}`);
    const ports = portsToAsk({ process, release, lines });
    assert.ok(ports.length <= 32);
    assert.ok(ports.includes(10_499), 'the newest lines count');
  });
});
