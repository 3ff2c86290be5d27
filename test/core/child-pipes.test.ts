import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { promisify } from 'node:util';

const child = join(import.meta.dirname, '../support/programs/without-descriptors.ts');
const folder = mkdtempSync(join(tmpdir(), 'without-descriptors-'));
after(() => rmSync(folder, { recursive: true, force: true }));

for (const what of ['ssh', 'transaction', 'advertisement', 'service', 'sandbox']) {
  test(`a child process that cannot start for lack of file descriptors fails one request, not the server: ${what}`, async () => {
    const limited = ['-c', 'ulimit -n 64; exec "$0" "$@"', process.execPath, child, what, folder];
    const { stdout } = await promisify(execFile)('/bin/sh', limited, { timeout: 30_000 });
    assert.match(stdout, /^refused: .+$/m);
    assert.match(stdout, /^(?:refused: .+\n|started\n)+started\n$/);
  });
}
