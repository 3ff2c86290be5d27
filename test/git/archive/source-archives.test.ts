import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { after, beforeEach, test } from 'node:test';
import { constants, zstdCompressSync } from 'node:zlib';
import { DeployError } from '../../../src/core/errors.ts';
import { createLog } from '../../../src/core/log/log.ts';
import { SourceArchives } from '../../../src/git/archive/source-archives.ts';
import { Repositories } from '../../../src/git/repositories.ts';
import { alice } from '../../support/alice.ts';
import { FakePackServices } from '../../support/http/fake-pack-services.ts';
import { wikibot } from '../../support/store-records.ts';
import { ustarHeader } from './headers.ts';

const folder = mkdtempSync(join(tmpdir(), 'source-archives-'));
after(() => rmSync(folder, { recursive: true, force: true }));

/** How often the server has checked the free disk space. */
let asked = 0;
/** The disk counts as full after this number of checks. */
let fullAfter = Number.POSITIVE_INFINITY;
let maxPackBytes = 2 ** 30;
beforeEach(() => {
  [asked, fullAfter, maxPackBytes] = [0, Number.POSITIVE_INFINITY, 2 ** 30];
});
const packServices = new FakePackServices(folder);

async function deploy(bytes: AsyncIterable<Uint8Array>, path = process.env['PATH'] ?? '') {
  const archives = new SourceArchives({
    repositories: new Repositories({ folder, path, deployBranch: 'main' }),
    packServices,
    treeLimits: { files: 1000, bytes: 2 ** 30 },
    maxPackBytes,
    room: {
      assertRoom: async () => {
        asked += 1;
        if (asked > fullAfter) throw new Error('the disk is full');
      },
    },
    log: createLog('silent'),
  });
  return await archives.deploy({
    ...{ tool: wikibot, principal: alice, bytes, live: null, host: 'localhost', message: 'Test' },
    ...{ options: [], say: async () => {}, signal: new AbortController().signal },
  });
}

const leftovers = () => readdirSync(join(folder, `${wikibot}.git`)).filter((name) => /^checkout-/.test(name));

/** Yields a compressed tar of about 1 MiB with 64 files of 1 MiB. The files differ, so git makes a pack of 64 MiB. */
async function* repeated(): AsyncGenerator<Uint8Array> {
  // For an archive, the server tells git to make no deltas of files that are larger than 1 MiB.
  const random = randomBytes(2 ** 20 + 512);
  const files = Array.from({ length: 64 }, (_, index) => {
    random.write(String(index).padStart(2));
    return Buffer.concat([ustarHeader(`file-${index}`, '0', random.length), random]);
  });
  const sent = zstdCompressSync(Buffer.concat([...files, Buffer.alloc(1024)]), {
    params: { [constants.ZSTD_c_windowLog]: 22, [constants.ZSTD_c_enableLongDistanceMatching]: 1 },
  });
  assert.ok(sent.length < 2 * 2 ** 20);
  yield sent;
}

test('threat 96: a small archive that becomes a large pack is refused when the disk has no room left', async () => {
  fullAfter = 2;
  await assert.rejects(deploy(repeated()), /the disk is full/);
  assert.equal(asked, 3);
  assert.deepEqual(leftovers(), []);
});

test('threat 96: a small archive whose pack exceeds the limit of a push is refused before it is read to its end', async () => {
  maxPackBytes = 8 * 2 ** 20;
  await assert.rejects(deploy(repeated()), { code: 'TREE_TOO_LARGE', message: /limit for one push/ });
  assert.equal(asked, 2);
  assert.deepEqual(leftovers(), []);
});

test('no byte of an archive is read if the tool accepts no push or if the disk has no room', async () => {
  let isRead = false;
  async function* bytes(): AsyncGenerator<Uint8Array> {
    isRead = true;
    yield Buffer.alloc(1024);
  }
  packServices.refusal = 'the tool wikibot is frozen: moving';
  assert.deepEqual(await deploy(bytes()), { kind: 'refused', reason: packServices.refusal });
  packServices.refusal = null;
  fullAfter = 0;
  await assert.rejects(deploy(bytes()), /the disk is full/);
  assert.equal(isRead, false);
});

test('if SIGXCPU or SIGKILL ends git while it stores an archive, the error is GIT_LIMIT; if SIGTERM ends git, the error says so', async () => {
  const programs = join(folder, 'programs');
  mkdirSync(programs);
  const path = `${programs}:${process.env['PATH']}`;
  const end = async (signal: string) => {
    const ends = `case " $* " in *' fast-import '*) ulimit -c 0; kill -s ${signal} $$;; esac`;
    const script = `#!/bin/sh\n${ends}\nPATH=\${PATH#*:} exec git "$@"\n`;
    writeFileSync(join(programs, 'git'), script, { mode: 0o755 });
    const tar = Buffer.concat([ustarHeader('a'), Buffer.alloc(1024)]);
    return await deploy(Readable.from([tar]), path).then(
      () => assert.fail(),
      (error: unknown) => error,
    );
  };
  for (const signal of ['XCPU', 'KILL']) {
    const limit = await end(signal);
    assert.equal(limit instanceof DeployError && limit.code, 'GIT_LIMIT', String(limit));
  }
  const other = await end('TERM');
  assert.ok(!(other instanceof DeployError));
  assert.match(String(other), /ended with SIGTERM/);
});
