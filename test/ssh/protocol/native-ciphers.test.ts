import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { execa } from 'execa';
import { hasNativeCiphers } from '../../../src/ssh/protocol/algorithms.ts';

const binding = createRequire(import.meta.url).resolve('ssh2/lib/protocol/crypto.js');

// Each connection leaves native ciphers behind. The garbage collector frees them at any time, also in tasks of its own.
const script = `
const { ChaChaPolyCipher, AESGCMCipher } = require(process.argv[1].replace(/\\.js$/, '/build/Release/sshcrypto.node'));
for (let made = 0; made < 1000; made += 1) {
  new ChaChaPolyCipher(Buffer.alloc(64));
  new AESGCMCipher('aes-128-gcm', Buffer.alloc(16), Buffer.alloc(12));
}
(async () => {
  for (let round = 0; round < 3; round += 1) await gc({ execution: 'async', type: 'major' });
  console.log('alive');
})();`;

test('threat 23: freeing the ciphers of ended connections does not crash the server', {
  skip: hasNativeCiphers() ? false : 'ssh2 has no native ciphers here',
}, async () => {
  const { stdout } = await execa(process.execPath, ['--expose-gc', '-e', script, binding], {
    stdin: 'ignore',
  });
  assert.equal(stdout, 'alive');
});
