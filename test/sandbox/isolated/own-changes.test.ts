import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { createLog } from '../../../src/core/log/log.ts';
import { makeRunFolders } from '../../../src/run/local/processes/run-folders.ts';
import { noOverlay } from '../../support/overlay.ts';
import { dataFolder, runIn, sandboxIn } from '../sandbox-bench.ts';

/** A Python program that tries to change the files of its release in /workspace, and prints which changes worked. */
const spoiling = `
import ctypes, os
def tries(name, attempt):
    try: attempt()
    except OSError as error: print(name, os.strerror(error.errno))
    else: print(name, 'worked')
tries('remove', lambda: os.remove('app.py'))
tries('hard link', lambda: os.link('static/site.css', 'link'))
tries('write', lambda: open('link', 'w').write('spoilt'))
tries('mark', lambda: os.setxattr('static', 'user.overlay.opaque', b'y'))
tries('set user', lambda: (open('setuid', 'w').close(), os.chmod('setuid', 0o6755)))
tries('whiteout', lambda: os.mknod('whiteout', 0o20600, 0))
tries('device', lambda: os.mknod('device', 0o60600, os.makedev(254, 0)))
tries('move', lambda: os.rename('static', 'moved'))
tries('huge file', lambda: os.truncate('static/site.css', 1 << 40))
tries('unmount', lambda: print(ctypes.CDLL(None).umount2(b'/workspace', 2)))
tries('fill', lambda: [open(f'file{number}', 'w').close() for number in range(2000)])
`;

test('promise 4: what a tool does in the folder of its release changes neither the release nor what its next process sees', {
  skip: noOverlay,
}, async () => {
  await using data = await dataFolder();
  const sandbox = await sandboxIn(data.path, 'isolated');
  const source = join(data.path, 'release');
  await mkdir(join(source, 'static'), { recursive: true });
  await writeFile(join(source, 'app.py'), 'kept\n');
  await writeFile(join(source, 'static/site.css'), 'kept\n');
  await sandbox.own([source], 1);
  const release = { source, target: '/workspace', isWritable: false };
  const seen: string[] = [];
  for (const program of [
    spoiling,
    `import os; print(sorted(os.listdir()), open('static/site.css').read())`,
  ]) {
    const place = await makeRunFolders(data.path, 1, { sandbox, log: createLog('error') });
    const mounts = [{ ...release, writesTo: place.writesTo }, ...place.mounts];
    const argv = ['/usr/bin/python3', '-c', program];
    const { output } = await runIn(sandbox, argv, { mounts, cwd: '/workspace' });
    seen.push(output);
    await place.remove();
    assert.ok(!existsSync(place.folder));
  }
  assert.equal(
    seen[0],
    `remove worked
hard link worked
write worked
mark worked
set user worked
whiteout Operation not permitted
device Operation not permitted
move Invalid cross-device link
huge file File too large
-1
unmount worked
fill worked
`,
  );
  assert.equal(seen[1], "['app.py', 'static'] kept\n\n");
  assert.deepEqual((await readdir(source, { recursive: true })).sort(), [
    'app.py',
    'static',
    'static/site.css',
  ]);
  assert.equal(await readFile(join(source, 'static/site.css'), 'utf8'), 'kept\n');
  assert.equal((await stat(join(source, 'static/site.css'))).nlink, 1);
});
