import assert from 'node:assert/strict';
import { test } from 'node:test';
import { diskFault } from '../../src/recovery/disk-fault.ts';

for (const { of, error, says } of [
  { of: 'a full disk', error: Object.assign(new Error('rename'), { code: 'ENOSPC' }), says: /disk full/ },
  { of: 'a read-only disk', error: Object.assign(new Error('mkdir'), { code: 'EROFS' }), says: /read-only/ },
  { of: 'a failing disk', error: Object.assign(new Error('read'), { code: 'EIO' }), says: /failing/ },
  { of: 'git', error: new Error('fatal: cannot mkdir x: No space left on device'), says: /disk full/ },
  { of: 'git', error: new Error('could not lock config: Read-only file system'), says: /read-only/ },
  { of: 'git', error: new Error('fatal: unable to write file x: Input/output error'), says: /failing/ },
]) {
  test(`threat 83: an error of ${of} (${error.message}) becomes an error that names the fault of the disk and tells the operator what to do`, () => {
    assert.throws(
      () => {
        throw diskFault(error);
      },
      { code: 'STORE_FULL', message: says, hint: /df -h/ },
    );
  });
}

test('an error that is not a fault of the disk is returned unchanged', () => {
  const error = new Error('something else');
  assert.equal(diskFault(error), error);
});
