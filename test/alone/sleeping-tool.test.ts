import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { OrdinaryTraffic } from '../support/hostile/ordinary.ts';
import { TestServer } from '../support/server.ts';
import { type Files, liveTool } from '../support/work-tree.ts';

const ATTACKS = 3;
/** The attack ends by itself after this time. */
const ATTACK_SECONDS = 12;
const WINDOW_MS = 8_000;
/** Without the limit on the processor time of all tools together, people waited 3 to 13 s in most attacks. */
const LONGEST_MS = 3_000;

/** A tool that starts 100 processes for each request of `/sleep`. They sleep for a nanosecond, again and again. */
const sleepingTool: Files = {
  LICENSE: 'CC0-1.0\n',
  Procfile: 'web: python3 server.py\n',
  'build.sh': 'echo built\n',
  'sleep.py': `import ctypes, os, signal
libc = ctypes.CDLL(None)
class Timespec(ctypes.Structure): _fields_ = [('seconds', ctypes.c_long), ('nanoseconds', ctypes.c_long)]
time = Timespec(0, 1)
for _ in range(99):
    if os.fork() == 0: break
signal.alarm(${ATTACK_SECONDS})
while True: libc.nanosleep(ctypes.byref(time), None)
`,
  'server.py': `import http.server, os, subprocess
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == '/sleep': subprocess.Popen(['python3', 'sleep.py'], start_new_session=True)
        self.send_response(200)
        self.send_header('Content-Length', '8')
        self.end_headers()
        self.wfile.write(b'sleeping')
http.server.ThreadingHTTPServer(('', int(os.environ['PORT'])), Answer).serve_forever()
`,
};

test('threat 261: beside a tool whose processes sleep and wake all the time, nobody waits more than three seconds for a page or `git ls-remote`', async (context) => {
  await using server = await TestServer.start();
  const page = await liveTool(server, 'page');
  const pushed = await liveTool(server, 'pushed');
  const sleeping = await liveTool(server, 'sleeping', sleepingTool);
  const ordinary = new OrdinaryTraffic(server, { page: page.name, pushed });
  for (let attack = 0; attack < ATTACKS; attack += 1) {
    assert.deepEqual(await server.get(sleeping.name, '/sleep'), { status: 200, body: 'sleeping' });
    await wait(1_000);
    const times = await ordinary.during(WINDOW_MS);
    const longest = { page: Math.max(...times.page), list: Math.max(...times['ls-remote']) };
    context.diagnostic(JSON.stringify(longest));
    assert.ok(longest.page < LONGEST_MS && longest.list < LONGEST_MS, JSON.stringify(longest));
    await wait(ATTACK_SECONDS * 1_000 - WINDOW_MS);
  }
});
