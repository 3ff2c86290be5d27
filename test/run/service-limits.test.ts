import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ToolName } from '../../src/core/names.ts';
import type { Artifact, Process, ServiceSettings } from '../../src/core/types.ts';
import { memoryLimit, unfulfilled } from '../../src/run/service-limits.ts';
import { releaseOf, rollOut } from './contract-steps.ts';
import { localBench } from './local/local-bench.ts';
import { web, worker } from './tool-sources.ts';

const MIB = 1024 * 1024;

function artifactWith(service: ServiceSettings): Artifact {
  return { id: 'a', kind: 'slug', reference: '/', processes: [], buildpacks: [], service, bytes: 1 };
}

for (const { name, memoryBytes, type, limit } of [
  {
    name: 'web gets the memory that the tool asks for',
    memoryBytes: 128 * MIB,
    type: 'web',
    limit: 128 * MIB,
  },
  {
    name: 'web never gets more memory than the operator allows',
    memoryBytes: 1024 * MIB,
    type: 'web',
    limit: 512 * MIB,
  },
  { name: 'the operator’s limit is the default', memoryBytes: null, type: 'web', limit: 512 * MIB },
  {
    name: 'a memory limit that the tool sets for web does not apply to a worker',
    memoryBytes: 128 * MIB,
    type: 'worker',
    limit: 512 * MIB,
  },
]) {
  test(`the memory limit of a process comes from service.template and from the operator: ${name}`, () => {
    const service = { healthCheckPath: null, ...(memoryBytes === null ? {} : { memoryBytes }) };
    const release = releaseOf('limits' as ToolName, 1, artifactWith(service));
    assert.equal(memoryLimit(release, type, 512 * MIB), limit);
  });
}

test('a push prints no warning if the tool gets all that service.template asks for', () => {
  const artifact = artifactWith({ healthCheckPath: '/', memoryBytes: 512 * MIB, replicas: 1 });
  assert.deepEqual(unfulfilled(releaseOf('limits' as ToolName, 1, artifact), 512 * MIB), []);
});

test('a process type gets its own memory limit, and the push warns about memory and processors that a process does not get', () => {
  const worker: Process = { ...web(), type: 'worker', settings: { memoryBytes: 64 * MIB, cpuCores: 2 } };
  const artifact = {
    ...artifactWith({ healthCheckPath: null, memoryBytes: 600 * MIB }),
    processes: [web(), worker],
  };
  const release = releaseOf('limits' as ToolName, 1, artifact);
  assert.equal(memoryLimit(release, 'worker', 512 * MIB), 64 * MIB);
  assert.deepEqual(unfulfilled(release, 512 * MIB), [
    'The tool asks for more memory than a process gets here, 512 MiB (run_memory): web 600 MiB.',
    'cpu (worker) has no effect here: tools share the processors of this machine.',
  ]);
});

/** A tool that prints its limit of memory for data (RLIMIT_DATA), and answers requests with this limit. */
const limitTool = `
import http.server, os, resource
print('data', resource.getrlimit(resource.RLIMIT_DATA)[0], flush=True)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = str(resource.getrlimit(resource.RLIMIT_DATA)[0]).encode()
        self.send_response(200)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.ThreadingHTTPServer(('', int(os.environ['PORT'])), Handler).serve_forever()
`;

test('threat 60: a web process gets the memory that service.template asks for, and the push names what the tool asks for and does not get', async () => {
  const bench = await localBench({ mode: 'isolated', healthMs: 20_000 });
  try {
    const tool = 'limits' as ToolName;
    const files = { 'web.py': limitTool, 'worker.py': 'import time; time.sleep(1000)' };
    const artifact = await bench.artifact(files, [web(), worker()]);
    const withService = (service: Partial<ServiceSettings>): Artifact => ({
      ...artifact,
      service: { healthCheckPath: null, ...service },
    });
    const plain = await rollOut(bench.runtime, releaseOf(tool, 1, withService({})));
    assert.doesNotMatch(plain, / ! /);
    const most = Number((await bench.request(tool, '/')).body);
    const small = withService({ memoryBytes: 64 * MIB, replicas: 3, cpuCores: 0.5 });
    const seen = await rollOut(bench.runtime, releaseOf(tool, 2, small));
    for (const name of ['web.1', 'web.2', 'web.3'])
      assert.match(seen, new RegExp(`^ {7}${name} started`, 'm'));
    assert.match(seen, / ! {5}cpu \(web\) has no effect here/);
    assert.equal(most - Number((await bench.request(tool, '/')).body), (256 - 64) * MIB);
    const large = withService({ memoryBytes: 2048 * MIB });
    assert.match(
      await rollOut(bench.runtime, releaseOf(tool, 3, large)),
      / ! {5}The tool asks for more memory than a process gets here, 256 MiB \(run_memory\): web 2048 MiB\./,
    );
    assert.equal(Number((await bench.request(tool, '/')).body), most);
  } finally {
    await bench.close();
  }
});
