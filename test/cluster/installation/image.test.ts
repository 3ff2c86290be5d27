import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { run, until } from '../../support/server.ts';
import { serverImage } from './images.ts';

const pod = 'toolforge-push-image';

async function kubectl(...args: string[]): Promise<string> {
  const { exitCode, stdout, stderr } = await run('kubectl', args);
  assert.equal(exitCode, 0, `kubectl ${args[0]}: ${stderr}`);
  return stdout;
}

/** Runs a shell script in the container, as the container's user. */
async function inside(script: string): Promise<{ exitCode: number; text: string }> {
  const { exitCode, stdout, stderr } = await run('kubectl', ['exec', pod, '--', 'bash', '-c', script]);
  return { exitCode, text: `${stdout}\n${stderr}` };
}

before(async () => {
  const image = await serverImage();
  await kubectl('delete', 'pod', pod, '--ignore-not-found', '--wait=true');
  await kubectl('run', pod, `--image=${image}`, '--restart=Never');
  await kubectl('wait', '--for=condition=Ready', `pod/${pod}`, '--timeout=180s');
});
after(async () => {
  await run('kubectl', ['delete', 'pod', pod, '--ignore-not-found', '--wait=false']);
});

test('the server’s image runs as a plain user with Node 24 and becomes healthy', async () => {
  await until(async () => (await inside('node src/cli/health.ts')).exitCode === 0, 'healthy', 60_000);
  const { text } = await inside('id -u; node --version');
  assert.match(text, /^10001\nv24\./);
});

test('a push to a server in its container image goes live', async () => {
  const told = await kubectl('logs', pod);
  const password = /Password:\s+(\S+)/.exec(told)?.[1] ?? '';
  assert.notEqual(password, '', told);
  const { exitCode, text } = await inside(`set -e
    cd "$(mktemp -d)" && git init --quiet --initial-branch=main
    printf 'web: python3 -m http.server "$PORT"\\n' > Procfile
    echo 'from a container' > index.html; echo CC0-1.0 > LICENSE
    git add --all
    git -c user.name=t -c user.email=t@example.org commit --quiet --message first
    git push http://push:${password}@127.0.0.1:8080/hello.git main
    node -e "require('http').get({ port: 8080, headers: { host: 'hello.localhost' } }, (r) => r.pipe(process.stdout))"`);
  assert.equal(exitCode, 0, text);
  assert.match(text, /v1 is live/);
  assert.match(text, /from a container/);
});
