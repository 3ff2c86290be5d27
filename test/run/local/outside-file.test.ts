import assert from 'node:assert/strict';
import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { execa } from 'execa';
import { DeployError } from '../../../src/core/errors.ts';
import type { ToolName } from '../../../src/core/names.ts';
import { readOutsideFile } from '../../../src/run/local/outside-file.ts';

let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'toolforge-push-outside-'));
});
after(() => rm(folder, { recursive: true }));

async function write(tool: string, content: string | Buffer, mode = 0o600): Promise<void> {
  await writeFile(join(folder, `${tool}.env`), content);
  await chmod(join(folder, `${tool}.env`), mode);
}

const read = (tool: string, from: string | null = folder) => readOutsideFile(from, tool as ToolName);

test('the operator’s file of config vars for a tool is read anew each time; a tool without such a file gets no config vars from outside', async () => {
  await write('wikibot', "# the operator's\nexport API_KEY='s3cret'\nNOTE=\"two\\nlines\"\n", 0o640);
  const first = await read('wikibot');
  assert.equal(first.source, 'the operator’s file wikibot.env');
  assert.deepEqual(first.vars, { API_KEY: 's3cret', NOTE: 'two\nlines' });
  await write('wikibot', 'API_KEY=other\n');
  assert.deepEqual((await read('wikibot')).vars, { API_KEY: 'other' });
  assert.deepEqual((await read('other')).vars, {});
  assert.deepEqual((await read('wikibot', null)).vars, {});
});

test('if the name of a tool leads out of the folder with the operator’s files of config vars, the server reads no file', async () => {
  await write('wikibot', 'API_KEY=s3cret\n');
  for (const name of ['../wikibot', `../${folder.split('/').at(-1)}/wikibot`, './wikibot', 'Wikibot'])
    assert.deepEqual((await read(name)).vars, {}, name);
});

const MALFORMED: Readonly<Record<string, readonly [content: string | Buffer, why: RegExp]>> = {
  'a line without =': ['A=1\ns3cret\n', /line 2 is not NAME=value/],
  'a name twice': ['A=1\n\nA=s3cret\n', /A is in line 1 and in line 3/],
  'a name in lower case': ['key=s3cret\n', /"key" is not a valid name/],
  'a name of the platform': ['LD_PRELOAD=s3cret\n', /LD_PRELOAD is reserved/],
  'a value of more than 32 KiB': [
    `A=${'s3cret'.repeat(6000)}\n`,
    /the value of A is longer than 32768 bytes/,
  ],
  'more than 1 MiB': [`# ${'s3cret'.repeat(180_000)}`, /it is larger than 1024 KiB/],
  'bytes that are not UTF-8': [Buffer.from('A=s3cret\xff\n', 'latin1'), /it is not UTF-8 text/],
};

for (const [name, [content, why]] of Object.entries(MALFORMED)) {
  test(`an operator’s file of config vars with ${name} is refused; the error has the file and the reason, but no value`, async () => {
    await write('wrong', content);
    await assert.rejects(read('wrong'), (error) => {
      assert.ok(error instanceof DeployError);
      assert.equal(error.code, 'OUTSIDE_CONFIG');
      assert.match(error.message, /^the operator’s file wrong\.env, .* cannot be used: /);
      assert.match(error.message, why);
      assert.doesNotMatch(`${error.message}${error.hint}`, /s3cret/);
      assert.doesNotMatch(`${error.message}${error.hint}`, new RegExp(folder));
      return true;
    });
  });
}

test('an operator’s file of config vars is refused if other users may read or change it, if its group may change it, or if it is a link, a folder or a pipe', async () => {
  for (const mode of [0o604, 0o644, 0o602, 0o660]) {
    await write('open', 'A=1\n', mode);
    await assert.rejects(
      read('open'),
      /other users may read or change it, or its group may change it/,
      mode.toString(8),
    );
  }
  await write('real', 'A=1\n');
  await symlink(join(folder, 'real.env'), join(folder, 'linked.env'));
  await assert.rejects(read('linked'), /it is a symbolic link/);
  await mkdir(join(folder, 'deep.env'), { mode: 0o700 });
  await assert.rejects(read('deep'), /it is not a plain file/);
  await execa('mkfifo', ['-m', '600', join(folder, 'pipe.env')]);
  await assert.rejects(read('pipe'), /it is not a plain file/);
});

test('if the folder with the operator’s files of config vars is missing, the server reports an error, because the file of a tool may be there again later', async () => {
  await assert.rejects(read('wikibot', join(folder, 'none')), /its folder does not exist/);
});
