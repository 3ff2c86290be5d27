import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { execa } from 'execa';
import { routeFiles, SET_ROUTES, writeRoutes } from '../../../src/sandbox/fence/fence-routes.ts';
import { dataFolder, isRoot } from '../sandbox-bench.ts';

const READ_ONLY = 'mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys';

/** Runs shell commands and then sets the routes, in a network with a device as in a sandbox. The output has all routes. */
async function setRoutes(folder: string, before: string) {
  const device = 'ip link add eth0 type bridge && ip link set eth0 up';
  const script = `${device} && ${before} && sh -c "$0" sh "$@" && ip route show table all`;
  const argv = ['-n', '-m', 'sh', '-c', script, SET_ROUTES, ...routeFiles(folder)];
  return await execa('unshare', argv, { reject: false });
}

test('threat 62: a sandbox does not start if its port range cannot be set, because it could then send UDP from any port', {
  skip: !isRoot,
}, async () => {
  await using data = await dataFolder();
  await writeRoutes(data.path, ['127.0.0.0/8'], null);
  const set = await setRoutes(data.path, 'true');
  assert.equal(set.exitCode, 0, set.stderr);
  const refused = await setRoutes(data.path, READ_ONLY);
  assert.equal(refused.exitCode, 1);
  assert.match(refused.stderr, /^the ports of a sandbox cannot be set, because \/proc\/sys is read-only$/m);
});

test('threat 62: the routes to blocked IPv4 networks are also set in a sandbox without IPv6', {
  skip: !isRoot,
}, async () => {
  await using data = await dataFolder();
  await writeRoutes(data.path, ['169.254.169.254/32', 'fd00:ec2::254/128'], null);
  const set = await setRoutes(data.path, 'echo 1 >/proc/sys/net/ipv6/conf/eth0/disable_ipv6');
  assert.equal(set.exitCode, 0, set.stderr);
  assert.match(set.stdout, /^local 169\.254\.169\.254 dev eth0 .*metric 1/m);
});

test('threat 62: a sandbox does not start if somebody has emptied or cut the file with its routes', {
  skip: !isRoot,
}, async () => {
  await using data = await dataFolder();
  await writeRoutes(data.path, ['127.0.0.0/8', '169.254.169.254/32'], null);
  const whole = await Promise.all(routeFiles(data.path).map((file) => readFile(file, 'utf8')));
  for (const left of [1, 0.7, 0.3, 0]) {
    for (const [index, file] of routeFiles(data.path).entries())
      await writeFile(file, whole[index]?.slice(0, left * (whole[index]?.length ?? 0)) ?? '');
    const { exitCode, stderr } = await setRoutes(data.path, 'true');
    assert.equal(exitCode, left === 1 ? 0 : 1, `${left} of the file: ${stderr}`);
  }
});
