import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { execa } from 'execa';
import { RefTransaction } from '../../../src/git/refs/ref-transaction.ts';
import { Repositories } from '../../../src/git/repositories.ts';
import { wikibot } from '../../support/store-records.ts';

const folder = mkdtempSync(join(tmpdir(), 'ref-transaction-'));
after(() => rmSync(folder, { recursive: true, force: true }));

/** A fake git whose first `update-ref` stops when it reads `word`, and answers nothing more. */
const hanging = (realGit: string, word: string, mark: string) => `#!/usr/bin/perl
use strict; use IPC::Open2;
exec '${realGit}', @ARGV if "@ARGV" ne 'update-ref --stdin' || -e '${mark}';
open(my $file, '>', '${mark}'); close $file;
my $pid = open2(my $from, my $to, '${realGit}', @ARGV);
$| = 1; $to->autoflush(1);
while (my $line = <STDIN>) {
  if ($line eq "${word}\\n") { kill 'STOP', $$; }
  print $to $line;
  next unless $line =~ /^(start|prepare|commit)$/;
  print scalar <$from>;
}
`;

for (const word of ['prepare', 'commit']) {
  test(`threat 83: if git hangs at the command \`${word}\` of a ref update, the server kills this git process, and another one moves the refs`, {
    timeout: 30_000,
  }, async () => {
    const place = join(folder, word);
    const { stdout: realGit } = await execa('sh', ['-c', 'command -v git']);
    const path = process.env['PATH'] ?? '';
    const plain = new Repositories({ folder: place, path, deployBranch: 'main' });
    await plain.ensure(wikibot);
    const tree = await plain.git(wikibot, ['mktree'], { input: '' });
    const commit = await plain.git(wikibot, [
      '-c',
      'user.name=a',
      '-c',
      'user.email=a@example.org',
      'commit-tree',
      '-m',
      'x',
      tree,
    ]);
    writeFileSync(join(place, 'git'), hanging(realGit, word, join(place, 'hung')));
    chmodSync(join(place, 'git'), 0o755);
    const repositories = new Repositories({ folder: place, path: `${place}:${path}`, deployBranch: 'main' });
    {
      await using transaction = await RefTransaction.prepare(
        repositories,
        wikibot,
        [`create refs/heads/main ${commit}`],
        2000,
      );
      await transaction.commit();
    }
    assert.equal(await plain.git(wikibot, ['rev-parse', 'refs/heads/main']), commit);
  });
}
