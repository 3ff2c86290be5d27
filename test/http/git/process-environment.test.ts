import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { test } from 'node:test';
import { withEnvironment, withEnvironmentInNextTick } from '../../../src/http/git/process-environment.ts';

const ENVIRONMENT = { PATH: '/usr/bin:/bin', ONLY: 'this' };

function printEnvironment(): Promise<string> {
  const child = spawn('env');
  return Array.fromAsync(child.stdout.setEncoding('utf8')).then((chunks) => chunks.join(''));
}

test('threat 53: a child process gets exactly the given environment', async () => {
  const printed = await withEnvironment(ENVIRONMENT, printEnvironment);
  assert.equal(printed, 'PATH=/usr/bin:/bin\nONLY=this\n');
});

test('threat 53: a child process that is started in the next tick also gets exactly the given environment', async () => {
  let printed: Promise<string> | null = null;
  withEnvironmentInNextTick(ENVIRONMENT, () =>
    process.nextTick(() => {
      printed = printEnvironment();
    }),
  );
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(await printed, 'PATH=/usr/bin:/bin\nONLY=this\n');
});

test('the environment for a child process is never visible to other code', async () => {
  const own = process.env;
  const seen: unknown[] = [];
  const look = () => seen.push(process.env);
  setImmediate(look);
  process.nextTick(look);
  queueMicrotask(look);
  withEnvironmentInNextTick(ENVIRONMENT, () =>
    process.nextTick(() => {
      assert.notEqual(process.env, own);
      process.nextTick(look);
      queueMicrotask(look);
      void Promise.resolve().then(look);
    }),
  );
  look();
  process.nextTick(look);
  await new Promise((resolve) => setTimeout(resolve, 5));
  assert.equal(seen.length, 8);
  assert.ok(seen.every((environment) => environment === own));
});

test('the server’s environment is restored if the start of a child process fails', () => {
  const own = process.env;
  const fail = () => {
    throw new Error('no');
  };
  assert.throws(() => withEnvironment(ENVIRONMENT, fail), /no/);
  assert.equal(process.env, own);
  assert.throws(() => withEnvironmentInNextTick(ENVIRONMENT, fail), /no/);
  assert.equal(process.env, own);
});

test('PATH in the environment of a child process decides which program runs', async () => {
  const child = withEnvironment({ PATH: '/nowhere' }, () => spawn('env'));
  const error = await new Promise<NodeJS.ErrnoException>((resolve) => child.once('error', resolve));
  assert.equal(error.code, 'ENOENT');
});
