import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sentence } from '../../src/core/text/sentence.ts';
import { explainApt, explainMmdebstrap } from '../../src/stack/stack-faults.ts';

const origin = { mirror: 'http://mirror.example/debian', suite: 'trixie' };

for (const { name, output, says } of [
  {
    name: 'no network',
    output: `Err:1 http://mirror.example/debian trixie InRelease
  Temporary failure resolving 'mirror.example'
E: Failed to fetch http://mirror.example/debian/dists/trixie/InRelease  Temporary failure resolving 'mirror.example'
E: Some index files failed to download. They have been ignored, or old ones used instead.`,
    says: 'No stack was made: Debian’s packages at http://mirror.example/debian cannot be reached.',
  },
  {
    name: 'a mirror without the Debian release',
    output: `E: The repository 'http://mirror.example/debian trixie Release' does not have a Release file.`,
    says: 'No stack was made: there are no packages of Debian trixie at http://mirror.example/debian',
  },
  {
    name: 'a signature by a key that this machine lacks',
    output: `W: GPG error: http://mirror.example/debian trixie InRelease: The following signatures couldn't be verified because the public key is not available: NO_PUBKEY 0123456789ABCDEF
E: The repository 'http://mirror.example/debian trixie InRelease' is not signed.`,
    says: 'No stack was made: the signatures of Debian trixie at http://mirror.example/debian cannot be verified with the keys of this machine.',
  },
  {
    name: 'an unknown package',
    output: 'Reading package lists...\nE: Unable to locate package filee\n',
    says: 'No stack was made: Debian trixie has no package filee.',
  },
  {
    name: 'a full disk',
    output: 'E: You don’t have enough free space\nE: Write error - write (28: No space left on device)\n',
    says: 'No stack was made: the disk is full.',
  },
]) {
  test(`the message of stack make names the cause: ${name}`, () => {
    const error = explainApt(output, origin);
    assert.equal(error.code, 'STACK_NOT_MADE');
    assert.equal(sentence(error.message), says);
    assert.match(error.hint, /\.$|:.*\S$/);
  });
}

test('if the machine forbids user namespaces, `stack make` says that it must run as root', () => {
  const error = explainMmdebstrap('E: unshare syscall failed: Operation not permitted', '/x/log');
  assert.match(error.message, /does not let a plain user make user namespaces/);
  assert.match(error.hint, /as root/);
});

test('an unknown failure of mmdebstrap is reported with its first error, and the hint names the file with its output', () => {
  const error = explainMmdebstrap(
    'I: installing\nE: setup failed: odd\nE: mmdebstrap failed to run\n',
    '/x/log',
  );
  assert.equal(error.message, 'no stack was made: mmdebstrap failed: setup failed: odd');
  assert.match(error.hint, /\/x\/log/);
});
