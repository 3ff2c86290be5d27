import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import ssh2 from 'ssh2';
import type { Directory, OfferedKey } from '../../src/auth/directory.ts';
import { CachedDirectory } from '../../src/auth/ldap/directory-cache.ts';
import { SshWorkbench } from '../support/ssh/ssh-workbench.ts';

/** A user directory that answers about alice at once, and about others when `gate` resolves. */
class SlowDirectory implements Directory {
  readonly gate = Promise.withResolvers<null>();
  asked = 0;

  async identifyByKey(login: string, _key: OfferedKey) {
    if (login === 'alice') return { uid: 'alice', onlyTool: null };
    this.asked += 1;
    return await this.gate.promise;
  }
  async identifyByPassword(): Promise<null> {
    return null;
  }
  async findTool(): Promise<null> {
    return null;
  }
  async toolsOf(): Promise<never[]> {
    return [];
  }
  async close(): Promise<void> {}
}

/** Offers a key from 127.0.0.9, and disconnects as soon as the user directory is asked, or after half a second. */
async function offerAndLeave(bench: SshWorkbench, username: string, slow: SlowDirectory): Promise<void> {
  const client = new ssh2.Client();
  const closed = new Promise<void>((resolve) => client.once('close', () => resolve()));
  client.on('error', () => {});
  const privateKey = readFileSync(bench.path('stranger'));
  const before = slow.asked;
  client.connect({ host: '127.0.0.1', port: bench.port, localAddress: '127.0.0.9', username, privateKey });
  await new Promise<void>((resolve) => client.once('handshake', () => resolve()));
  for (let count = 0; slow.asked === before && count < 50; count += 1) await delay(10);
  client.destroy();
  await closed;
}

test('threat 6: strangers at one address who offer keys and disconnect cause at most four simultaneous questions to the user directory, and others can log in', async (context) => {
  const slow = new SlowDirectory();
  const directory = new CachedDirectory(slow, { cacheMs: 60_000, limitMs: 5000 });
  const bench = await SshWorkbench.open({ directory });
  context.after(() => bench.close());
  for (let count = 0; count < 8; count += 1) await offerAndLeave(bench, `stranger${count}`, slow);
  assert.equal((await bench.ssh('alice', 'alice', ['x'])).code, 0);
  assert.ok(slow.asked > 0 && slow.asked <= 4, `${slow.asked} questions of one address`);
  slow.gate.resolve(null);
});
