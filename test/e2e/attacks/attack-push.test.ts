import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { execa } from 'execa';
import { type Fabric, rawPush } from '../../support/attack-push.ts';
import { TestServer, until } from '../../support/server.ts';
import { WorkTree, webTool } from '../../support/work-tree.ts';

const zero = '0'.repeat(40);
let server: TestServer;
before(async () => {
  server = await TestServer.start({
    TOOLFORGE_PUSH_CONCURRENT_DEPLOYMENTS: '8',
    TOOLFORGE_PUSH_HEALTH_TIME: '8',
  });
});
after(async () => server[Symbol.asyncDispose]());

let serial = 0;
async function emptyTool(): Promise<Fabric> {
  serial += 1;
  const name = `raw-${serial}`;
  await server.addTool(name);
  return { server, name, tree: await WorkTree.create(server, 'http', name) };
}

async function liveTool(): Promise<Fabric & { first: string }> {
  const made = await emptyTool();
  const first = await made.tree.commit('one', webTool('one'));
  const pushed = await made.tree.push();
  assert.equal(pushed.exitCode, 0, pushed.stderr);
  return { ...made, first };
}

const refs = (name: string) => server.inRepository(name, 'for-each-ref', '--format=%(refname)');
const main = (name: string) => server.inRepository(name, 'rev-parse', 'refs/heads/main');

async function inState(name: string, wanted: string): Promise<void> {
  await until(
    async () => (await server.command('deployments', name, '--json')).stdout.includes(`"${wanted}"`),
    wanted,
  );
}

/** Makes a tree from lines for git-mktree(1). @returns the id of the tree. */
async function mktree({ tree }: Fabric, lines: readonly string[]): Promise<string> {
  const input = lines.map((line) => `${line}\n`).join('');
  return (await execa('git', ['mktree'], { cwd: tree.folder, input })).stdout;
}

async function commitOf({ tree }: Fabric, treeId: string): Promise<string> {
  return (await tree.git('commit-tree', '-m', 'made by hand', treeId)).stdout;
}

describe('hand-made pushes', { concurrency: 4 }, () => {
  test('promise 6: an atomic push of the live commit with a new tag stores the tag and answers ok', async () => {
    const tool = await liveTool();
    const { text } = await rawPush(tool, {
      commands: [
        { oldId: zero, newId: tool.first, ref: 'refs/heads/main' },
        { oldId: zero, newId: tool.first, ref: 'refs/tags/v1' },
      ],
      objects: [tool.first],
    });
    assert.match(text, /ok refs\/tags\/v1/);
    assert.equal(await refs(tool.name), 'refs/heads/main\nrefs/releases/v1\nrefs/tags/v1');
  });

  test('promise 6: a push of the live commit starts a stopped tool again', async () => {
    const tool = await liveTool();
    assert.equal((await server.command('stop', tool.name)).exitCode, 0);
    assert.equal((await server.get(tool.name)).status, 503);
    const { text } = await rawPush(tool, {
      commands: [{ oldId: zero, newId: tool.first, ref: 'refs/heads/main' }],
      objects: [tool.first],
    });
    assert.match(text, /ok refs\/heads\/main/);
    assert.deepEqual(await server.get(tool.name), { status: 200, body: 'one' });
  });

  test('promise 6: a push of the live commit does not join a waiting redeploy, and is refused if another commit goes live first', async () => {
    const tool = await liveTool();
    const slow = await tool.tree.commit('slow', webTool('slow', 'sleep 3'));
    const pushing = tool.tree.push();
    await inState(tool.name, 'building');
    const redeploying = server.command('redeploy', tool.name);
    await inState(tool.name, 'waiting');
    const { text } = await rawPush(tool, {
      commands: [{ oldId: zero, newId: tool.first, ref: 'refs/heads/main' }],
      objects: [tool.first],
    });
    assert.equal((await pushing).exitCode, 0);
    await redeploying;
    assert.match(text, /ng refs\/heads\/main .*went live while you waited/);
    assert.equal(await main(tool.name), slow);
  });

  test('threat 33: an atomic push of main and a tag whose name git does not accept is refused before anything is built', async () => {
    const tool = await liveTool();
    const two = await tool.tree.commit('two', webTool('two'));
    for (const ref of [
      'a b',
      'a..b',
      'x.lock',
      '',
      '.a',
      'a\\b',
      'a@{1}',
      '-\u001b]0;x\u0007',
      'a//b',
      'a.',
    ]) {
      const { text } = await rawPush(tool, {
        commands: [
          { oldId: zero, newId: two, ref: 'refs/heads/main' },
          { oldId: zero, newId: two, ref: `refs/tags/${ref}` },
        ],
        objects: [two],
      });
      assert.match(text, /ng refs\/heads\/main atomic push failure/, ref);
      assert.match(text, /not a name that git accepts/, ref);
      assert.doesNotMatch(text, /Building|server failed/, ref);
    }
    assert.equal(await refs(tool.name), 'refs/heads/main\nrefs/releases/v1');
  });

  test('threat 49: an atomic push of main and a tag whose name conflicts with another tag is refused with the reason, and main does not move', async () => {
    const tool = await liveTool();
    assert.equal((await tool.tree.push('toolforge', 'main:refs/tags/a')).exitCode, 0);
    const two = await tool.tree.commit('two', webTool('two'));
    const { text } = await rawPush(tool, {
      commands: [
        { oldId: tool.first, newId: two, ref: 'refs/heads/main' },
        { oldId: zero, newId: two, ref: 'refs/tags/a/b' },
      ],
      objects: [two],
    });
    assert.match(text, /ng refs\/heads\/main the other refs of this atomic push could not be moved/);
    assert.equal(await main(tool.name), tool.first);
    assert.equal((await server.get(tool.name)).body, 'one');
  });

  test('threat 38: a client cannot write any of eleven refs that are neither the deploy branch nor a tag', async () => {
    const tool = await liveTool();
    const two = await tool.tree.commit('two', webTool('two'));
    const names = [
      'HEAD',
      'refs/heads/Main',
      'refs/heads/master',
      'refs/heads/main/x',
      'refs/deployments/20260101-000000-aaaaaaaaaa',
      'refs/parked/x/0',
      'refs/releases/v9',
      'refs/replace/1',
      'refs/notes/x',
      'config',
      'refs/tags/../heads/main',
    ];
    for (const capabilities of [['report-status'], ['report-status', 'atomic', 'side-band-64k']]) {
      const commands = names.map((ref) => ({ oldId: zero, newId: two, ref }));
      const { text } = await rawPush(tool, { commands, capabilities, objects: [two] });
      assert.equal(text.match(/^.{4}ng /gm)?.length, names.length, text);
    }
    assert.equal(await refs(tool.name), 'refs/heads/main\nrefs/releases/v1');
  });

  test('threat 36: a commit with 10^12 empty folders, made of 13 trees, is refused within 20 s', {
    timeout: 20_000,
  }, async () => {
    const tool = await emptyTool();
    let id = await mktree(tool, []);
    for (let level = 0; level < 12; level += 1) {
      const child = id;
      id = await mktree(
        tool,
        Array.from({ length: 10 }, (_, index) => `040000 tree ${child}\td${index}`),
      );
    }
    const commit = await commitOf(tool, id);
    const { text } = await rawPush(tool, {
      commands: [{ oldId: zero, newId: commit, ref: 'refs/heads/main' }],
      objects: [commit],
    });
    assert.match(text, /ng refs\/heads\/main the commit has more than 50000 folders/);
  });

  for (const { name, depth, file } of [
    { name: 'a file name of 300 bytes', depth: 0, file: 'n'.repeat(300) },
    { name: 'a file path of 2,021 bytes', depth: 20, file: 'f' },
  ]) {
    test(`threat 42: a commit with ${name} is refused, and the reason says that the name of a file is too long`, async () => {
      const tool = await emptyTool();
      const input = { cwd: tool.tree.folder, input: 'x' };
      const blob = (await execa('git', ['hash-object', '-w', '--stdin'], input)).stdout;
      let id = await mktree(tool, [`100644 blob ${blob}\t${file}`]);
      for (let level = 0; level < depth; level += 1)
        id = await mktree(tool, [`040000 tree ${id}\t${'d'.repeat(100)}`]);
      const commit = await commitOf(tool, id);
      const { text } = await rawPush(tool, {
        commands: [{ oldId: zero, newId: commit, ref: 'refs/heads/main' }],
        objects: [commit],
      });
      assert.match(text, /ng refs\/heads\/main a file in the commit has a name that is too long/);
    });
  }

  test('threat 58: the reason with which git rejects a push has no control characters of the build’s output', async () => {
    const { tree } = await liveTool();
    await tree.commit(
      'two',
      webTool('two', "printf 'evil \\033]0;pwned\\007 \\033[31mred \\033[2J x\\n'; exit 3"),
    );
    const { stderr } = await execa('git', ['push', 'toolforge', 'main'], {
      cwd: tree.folder,
      env: server.clientEnvironment,
      extendEnv: false,
      reject: false,
    });
    const rejected = stderr.split('\n').find((line) => line.includes('[remote rejected]')) ?? '';
    assert.match(rejected, /exited 3: evil {1,2}red {1,2}x/);
    assert.doesNotMatch(rejected, /\p{Cc}/u);
  });

  test('threat 41: a .gitattributes file does not change the files that are built', async () => {
    const { name, tree } = await emptyTool();
    // Without this file, the client's git would apply .gitattributes when it commits.
    await writeFile(
      join(tree.folder, '.git/info/attributes'),
      '* -text -ident -filter -working-tree-encoding\n',
    );
    await tree.commit('one', {
      ...webTool('one', 'cat probe.txt; echo; wc -c <crlf.txt; test -f ignored.txt && echo there'),
      'probe.txt': '$Format:%H$ $Id$',
      'crlf.txt': 'a\nb\n',
      'ignored.txt': 'x',
      '.gitattributes': [
        '[attr]evil filter=evil text eol=crlf ident export-subst working-tree-encoding=UTF-16',
        '* evil',
        'crlf.txt text eol=crlf crlf',
        'ignored.txt export-ignore',
        '',
      ].join('\n'),
    });
    const pushed = await tree.push();
    assert.equal(pushed.exitCode, 0, pushed.stderr);
    assert.match(pushed.stderr, /\$Format:%H\$ \$Id\$/);
    assert.match(pushed.stderr, /remote: +4 *\n/);
    assert.match(pushed.stderr, /there/);
    assert.equal((await server.get(name)).body, 'one');
  });

  test('threat 24: a request body that is not a push gets 200 or 400, and changes neither the refs nor the live tool', async () => {
    const tool = await liveTool();
    const line = '0040shallow 0000000000000000000000000000000000000000 000000000000';
    for (const body of [
      Buffer.from('zzzz what is this'),
      Buffer.from('0003'),
      Buffer.from(`0094${zero} ${'1'.repeat(40)} refs/heads/main\0 report-status`),
      Buffer.alloc(2 * 1024 * 1024, line),
      Buffer.alloc(0),
    ]) {
      const { status } = await rawPush(tool, { commands: [], body });
      assert.ok([200, 400].includes(status), `${status} for ${body.toString('latin1', 0, 40)}`);
    }
    assert.equal(await refs(tool.name), 'refs/heads/main\nrefs/releases/v1');
    assert.equal((await server.get(tool.name)).body, 'one');
  });

  test('promise 3: a push that joins the deployment of the same commit gets ok, and leaves no parked commit', async () => {
    const tool = await liveTool();
    const two = await tool.tree.commit('two', webTool('two', 'sleep 2'));
    const pushing = tool.tree.push();
    await inState(tool.name, 'building');
    const { text } = await rawPush(tool, {
      commands: [{ oldId: tool.first, newId: two, ref: 'refs/heads/main' }],
      objects: [two],
    });
    assert.match(text, /joined this deployment with a push of the same commit/);
    assert.match(text, /ok refs\/heads\/main/);
    assert.equal((await pushing).exitCode, 0);
    assert.equal(await refs(tool.name), 'refs/heads/main\nrefs/releases/v1\nrefs/releases/v2');
  });
});
