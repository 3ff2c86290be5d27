import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';

const main = resolve(import.meta.dirname, '../../src/main.ts');

test('a first start that finds its port taken keeps nothing that it would have shown once', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'first-start-'));
  await mkdir(join(folder, 'home'));
  const taken = createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  const { port } = taken.address() as AddressInfo;
  /** @returns what it told, from its start to its end: at once where it is refused, else as soon as it is ready. */
  const start = async (http: string): Promise<string> => {
    const child = spawn(process.execPath, [main], {
      env: {
        PATH: process.env['PATH'] ?? '',
        HOME: join(folder, 'home'),
        TOOLFORGE_PUSH_DATA: join(folder, 'data'),
        TOOLFORGE_PUSH_KEYS: join(folder, 'keys'),
        TOOLFORGE_PUSH_SSH: '127.0.0.1:0',
        TOOLFORGE_PUSH_HTTP: http,
        TOOLFORGE_PUSH_SANDBOX: 'trusted',
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const ended = once(child, 'close');
    createInterface({ input: child.stdout }).on('line', (line) => {
      if (line.includes('"msg":"ready"')) child.kill('SIGTERM');
    });
    const told = await text(child.stderr);
    await ended;
    return told;
  };
  try {
    const refused = await start(`127.0.0.1:${port}`);
    assert.match(refused, /CANNOT_LISTEN/);
    assert.doesNotMatch(refused, /Password/);
    const second = await start('127.0.0.1:0');
    assert.match(second, /Welcome, [\s\S]+Password: +\S{8,} +\(shown this once\)/);
    const third = await start('127.0.0.1:0');
    assert.doesNotMatch(third, /Welcome|Password/);
  } finally {
    taken.close();
    await rm(folder, { recursive: true, force: true });
  }
});
