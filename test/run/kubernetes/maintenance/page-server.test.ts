import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { PAGE_SERVER } from '../../../../src/run/kubernetes/maintenance/page-server.ts';
import { freePort } from '../../../support/http/free-port.ts';

const HEAD = 'HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/html';
const folder = await mkdtemp(join(tmpdir(), 'toolforge-push-page-'));
const running = new Set<ChildProcess>();
after(async () => {
  for (const { pid } of running) if (pid !== undefined) process.kill(-pid, 'SIGKILL');
  await rm(folder, { recursive: true });
});

/**
 * Creates a source folder with these files. @returns the folder, and a function that starts the page server for it. A page
 * may have at most 20 bytes.
 */
async function serverOf(name: string, files: Readonly<Record<string, string>>) {
  const root = join(folder, name);
  await mkdir(join(root, 'public'), { recursive: true });
  for (const [path, text] of Object.entries(files)) await writeFile(join(root, path), text);
  const start = async (): Promise<{ said: string; port: number }> => {
    const port = await freePort();
    const words = [
      '-e',
      PAGE_SERVER,
      root,
      String(port),
      '20',
      'maintenance.html',
      'public/maintenance.html',
    ];
    const env = { PLAIN_HEAD: HEAD, PLAIN_BODY: 'plain', OWN_HEAD: `${HEAD}\r\nx-own: yes` };
    const child = spawn('perl', words, { env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
    running.add(child);
    let errors = '';
    child.stderr.on('data', (chunk) => {
      errors += String(chunk);
    });
    const ended = once(child, 'close').then(() => {
      running.delete(child);
      throw new Error(errors);
    });
    ended.catch(() => {});
    const [line] = await Promise.race([once(child.stdout, 'data'), ended]);
    return { said: String(line).trim(), port };
  };
  return { root, start };
}

/** Sends bytes, and reads until the server closes the connection. */
async function answer(port: number, request: string): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  socket.write(request);
  let text = '';
  for await (const chunk of socket) text += String(chunk);
  return text;
}

test('the server of the maintenance page answers GET, HEAD and POST with 503 and the tool’s own page, even if the request body is large', async () => {
  const { start } = await serverOf('own', { 'public/maintenance.html': 'bäck soon' });
  const { said, port } = await start();
  assert.equal(said, 'own');
  const whole = `${HEAD}\r\nx-own: yes\r\nContent-Length: 10\r\nConnection: close\r\n\r\n`;
  assert.equal(await answer(port, 'GET / HTTP/1.1\r\nHost: x\r\n\r\n'), `${whole}bäck soon`);
  assert.equal(await answer(port, 'HEAD /y HTTP/1.1\r\nHost: x\r\n\r\n'), whole);
  const body = 'x'.repeat(1024 * 1024);
  const post = `POST / HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
  assert.equal(await answer(port, post), `${whole}bäck soon`);
});

test('the server of the maintenance page reports a page that is too large, and shows the plain page instead; it follows no links', async () => {
  const large = await serverOf('large', {
    'maintenance.html': 'x'.repeat(21),
    'public/maintenance.html': 'small',
  });
  const { said, port } = await large.start();
  assert.equal(said, 'large maintenance.html');
  assert.match(await answer(port, 'GET / HTTP/1.1\r\n\r\n'), /\r\n\r\nplain$/);
  const linked = await serverOf('linked', { secret: 'secret' });
  await symlink('secret', join(linked.root, 'maintenance.html'));
  await rm(join(linked.root, 'public'), { recursive: true });
  await symlink(join(folder, 'own', 'public'), join(linked.root, 'public'));
  assert.equal((await linked.start()).said, 'plain');
});

test('clients that send half a request, or connect and leave, do not keep other visitors from the maintenance page', async () => {
  const { start } = await serverOf('slow', {});
  const { port } = await start();
  const slow = Array.from({ length: 7 }, () => connect(port, '127.0.0.1'));
  for (const socket of slow) socket.write('GET / HTTP/1.1\r\n');
  assert.match(await answer(port, 'GET / HTTP/1.1\r\n\r\n'), /\r\n\r\nplain$/);
  for (const socket of slow) socket.destroy();
  for (let count = 0; count < 50; count += 1) connect(port, '127.0.0.1').destroy();
  assert.match(await answer(port, 'GET / HTTP/1.1\r\n\r\n'), /\r\n\r\nplain$/);
});
