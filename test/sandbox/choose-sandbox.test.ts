import assert from 'node:assert/strict';
import { chmod, mkdir, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { execa } from 'execa';
import { DeployError } from '../../src/core/errors.ts';
import { createLog } from '../../src/core/log/log.ts';
import { chooseSandbox } from '../../src/sandbox/choose-sandbox.ts';
import { dataFolder, isRoot } from './sandbox-bench.ts';

const source = resolve(import.meta.dirname, '../../src/sandbox/choose-sandbox.ts');

/** Chooses a sandbox in another process, started by `wrapper`. @returns the choice, or the error, as a line of text. */
async function chooseUnder(wrapper: readonly string[], data: string, sandbox: string): Promise<string> {
  const script = `
    import { chooseSandbox } from ${JSON.stringify(source)};
    try {
      const { sandbox, whyTrusted } = await chooseSandbox({ data: ${JSON.stringify(data)}, sandbox: '${sandbox}', sandbox_uid: 700000, blocked_networks: [] }, { error: console.error });
      console.log(sandbox.mode, whyTrusted);
    } catch (error) { console.log(error.code, error.message, error.hint); }`;
  const [file = '', ...args] = [...wrapper, process.execPath, '--input-type=module', '-e', script];
  return (await execa(file, args, { stdin: 'ignore' })).stdout;
}

test('with `sandbox: trusted`, the server does not isolate tools, and does not report this as a problem', async () => {
  await using data = await dataFolder();
  const { sandbox, whyTrusted } = await chooseSandbox(
    {
      data: data.path,
      sandbox: 'trusted',
      sandbox_uid: 700_000,
      blocked_networks: [],
    },
    createLog('error'),
  );
  assert.equal(sandbox.mode, 'trusted');
  assert.equal(whyTrusted, null);
});

test('other users of the machine cannot list the folder in which pipes of tools are opened', async () => {
  await using data = await dataFolder();
  const folder = join(data.path, 'sandbox');
  await mkdir(folder, { mode: 0o755 });
  await chooseSandbox(
    { data: data.path, sandbox: 'trusted', sandbox_uid: 700_000, blocked_networks: [] },
    createLog('error'),
  );
  assert.equal((await stat(folder)).mode & 0o777, 0o711);
});

test('with `sandbox: auto`, the server isolates tools if this machine can', async () => {
  await using data = await dataFolder();
  const { sandbox, whyTrusted } = await chooseSandbox(
    {
      data: data.path,
      sandbox: 'auto',
      sandbox_uid: 700_000,
      blocked_networks: [],
    },
    createLog('error'),
  );
  assert.equal(sandbox.mode, 'isolated');
  assert.equal(whyTrusted, null);
});

test('if this machine cannot isolate tools, `sandbox: auto` says why and what to install, and `sandbox: isolated` is refused', {
  skip: !isRoot,
}, async () => {
  await using data = await dataFolder();
  // Without a network, pasta cannot connect a sandbox.
  const trusted = await chooseUnder(['unshare', '-n'], data.path, 'auto');
  assert.match(
    trusted,
    /^trusted Tools cannot be isolated here: .+ apt-get install bubblewrap passt util-linux iproute2$/,
  );
  const refused = await chooseUnder(['unshare', '-n'], data.path, 'isolated');
  assert.match(refused, /^NO_ISOLATION tools cannot be isolated here/);
});

test('if only root may open the tun device, the reason for no isolation names the device and the command that opens it to others', {
  skip: !isRoot,
}, async () => {
  await using data = await dataFolder();
  const closeTun =
    'mknod -m 600 "$0/tun" c 10 200 && mount --bind "$0/tun" /dev/net/tun && umask 022 && exec "$@"';
  const said = await chooseUnder(['unshare', '-m', 'sh', '-c', closeTun, data.path], data.path, 'auto');
  assert.match(said, /^trusted Tools cannot be isolated here: .*\btun\b.* chmod 0666 \/dev\/net\/tun$/);
});

test('a server that runs with the umask 077 can isolate tools', { skip: !isRoot }, async () => {
  await using data = await dataFolder();
  const strict = ['sh', '-c', 'umask 077 && exec "$@"', 'sh'];
  assert.equal(await chooseUnder(strict, data.path, 'isolated'), 'isolated null');
});

test('a server that does not run as root can isolate tools too', { skip: !isRoot }, async () => {
  await using data = await dataFolder();
  const folder = join(data.path, 'own');
  await mkdir(folder);
  await execa('chown', ['65432:65432', folder]);
  await chmod(folder, 0o700);
  const user = ['setpriv', '--reuid', '65432', '--regid', '65432', '--clear-groups', '--'];
  assert.equal(await chooseUnder(user, folder, 'isolated'), 'isolated null');
});

test('a data folder that tools cannot reach is refused with the name of the closed folder', {
  skip: !isRoot,
}, async () => {
  await using data = await dataFolder();
  const closed = join(data.path, 'closed');
  await mkdir(join(closed, 'data'), { recursive: true });
  await chmod(closed, 0o700);
  const choice = chooseSandbox(
    {
      data: join(closed, 'data'),
      sandbox: 'auto',
      sandbox_uid: 700_000,
      blocked_networks: [],
    },
    createLog('error'),
  );
  await assert.rejects(choice, (error) => {
    assert.ok(error instanceof DeployError);
    assert.equal(error.code, 'DATA_FOLDER_CLOSED');
    assert.match(error.message, new RegExp(`the folder ${closed}$`));
    assert.match(error.hint, new RegExp(`chmod o\\+x ${closed}`));
    return true;
  });
});
