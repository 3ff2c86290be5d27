import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Agent, type IncomingMessage, request } from 'node:http';
import { text } from 'node:stream/consumers';
import { after, before, test } from 'node:test';
import { TestServer } from '../support/server.ts';
import { WorkTree, webTool } from '../support/work-tree.ts';

const REDEPLOYMENTS = 10;
const REQUESTS_PER_SECOND = 200;

let server: TestServer;
before(async () => {
  server = await TestServer.start();
});
after(async () => server[Symbol.asyncDispose]());

/** Sends requests at a fixed rate until it is stopped, whether or not earlier requests were answered. */
class Load {
  readonly failures: string[] = [];
  sent = 0;
  #answers: Promise<void>[] = [];
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 64 });
  readonly #url: string;
  readonly #host: string;
  readonly #timer: NodeJS.Timeout;
  readonly #startedAt = performance.now();

  constructor(url: string, host: string) {
    this.#url = url;
    this.#host = host;
    this.#timer = setInterval(() => this.#catchUp(), 5);
  }

  get seconds(): number {
    return (performance.now() - this.#startedAt) / 1000;
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await Promise.all(this.#answers);
    this.#agent.destroy();
  }

  #catchUp(): void {
    while (this.sent < this.seconds * REQUESTS_PER_SECOND) {
      this.sent += 1;
      this.#answers.push(this.#ask());
    }
  }

  async #ask(): Promise<void> {
    try {
      const asked = request(this.#url, { agent: this.#agent, headers: { host: this.#host } }).end();
      const [response] = (await once(asked, 'response')) as [IncomingMessage];
      const body = await text(response);
      if (response.statusCode !== 200)
        this.failures.push(`${this.seconds.toFixed(2)}: ${response.statusCode} ${body}`);
    } catch (error) {
      this.failures.push(String(error));
    }
  }
}

test('promise 2: while ten pushes of a tool go live, the tool gets 200 requests a second, and no request fails', async (context) => {
  await server.addTool('busy');
  const tree = await WorkTree.create(server, 'ssh', 'busy');
  await tree.commit('0', webTool('0'));
  assert.equal((await tree.push()).exitCode, 0);
  const load = new Load(`http://${server.http}/`, 'busy.localhost');
  for (let round = 1; round <= REDEPLOYMENTS; round += 1) {
    await tree.commit(String(round), webTool(String(round)));
    const pushed = await tree.push();
    assert.equal(pushed.exitCode, 0, pushed.stderr);
  }
  const { seconds } = load;
  await load.stop();
  context.diagnostic(`${load.sent} requests in ${seconds.toFixed(1)} s`);
  assert.deepEqual(load.failures.slice(0, 10), []);
  assert.ok(load.sent >= (seconds - 1) * REQUESTS_PER_SECOND);
  assert.equal((await server.get('busy')).body, String(REDEPLOYMENTS));
});
