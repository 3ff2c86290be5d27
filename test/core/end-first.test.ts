import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { after, test } from 'node:test';
import { startGit } from '../../src/git/git-process.ts';
import { ServedRepository } from '../../src/http/git/served-repository.ts';

// Scripts in place of git. Like git, they start a child process when they have read something.
const folder = mkdtempSync(join(tmpdir(), 'end-first-'));
after(() => rmSync(folder, { recursive: true }));
for (const name of ['git', 'git-receive-pack'])
  writeFileSync(join(folder, name), '#!/bin/sh\nread -r line\ncat /proc/self/oom_score_adj\n', {
    mode: 0o755,
  });
const environment = { PATH: `${folder}:${process.env['PATH']}` };

test('threat 35: over SSH, git runs with oom_score_adj 600, so that the kernel ends git before the tools if memory runs out', async () => {
  const git = startGit(['receive-pack'], environment);
  git.stdin.end('a push\n');
  assert.equal(await text(git.stdout), '600\n', git.stderr());
});

test('threat 35: over HTTP, git runs with oom_score_adj 600, so that the kernel ends git before the tools if memory runs out', async () => {
  const output = new PassThrough();
  const git = ServedRepository.open({ folder, environment }).run('receive-pack', output);
  git.input.end('a push\n');
  assert.match(await text(output), /600\n/);
});
