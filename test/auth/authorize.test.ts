import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { authorize } from '../../src/auth/authorize.ts';
import { FileDirectory } from '../../src/auth/file/file-directory.ts';
import { PreviewDirectory } from '../../src/auth/preview-directory.ts';
import { type ToolName, toolName } from '../../src/core/names.ts';
import type { Action, Principal } from '../../src/core/types.ts';

const signal = AbortSignal.timeout(60_000);
const alice: Principal = {
  uid: 'alice',
  door: 'ssh',
  credential: 'x',
  address: '',
  onlyTool: null,
  scope: 'manage',
  isOperator: false,
};
let folder: string;
let directory: FileDirectory;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'authorize-'));
  const path = join(folder, 'directory.yaml');
  await writeFile(
    path,
    'users: {alice: {}, bob: {}, carol: {disabled: true}}\ntools: {hello: {maintainers: [alice, carol]}, old: {maintainers: [alice], disabled: true}}\n',
  );
  directory = new FileDirectory(path);
});
after(() => rm(folder, { recursive: true }));

const tool = (name: string): ToolName => toolName(name) ?? assert.fail();
const cases: readonly [string, Partial<Principal>, string, Action, string | null][] = [
  ['a maintainer may deploy', {}, 'hello', 'deploy', null],
  ['a maintainer may read a disabled tool', {}, 'old', 'read', null],
  ['a maintainer may not deploy a disabled tool', {}, 'old', 'deploy', 'TOOL_DISABLED'],
  ['a person who is not a maintainer may not deploy', { uid: 'bob' }, 'hello', 'deploy', 'NO_ACCESS'],
  ['a person who is not a maintainer may not read', { uid: 'bob' }, 'hello', 'read', 'NO_ACCESS'],
  ['a disabled maintainer may not deploy', { uid: 'carol' }, 'hello', 'deploy', 'NO_ACCESS'],
  ['a missing tool may not be read', {}, 'nowhere', 'read', 'NO_ACCESS'],
  [
    'a credential that is only for one tool may deploy this tool',
    { onlyTool: tool('hello') },
    'hello',
    'deploy',
    null,
  ],
  [
    'a credential that is only for one tool may not deploy another tool',
    { onlyTool: tool('old') },
    'hello',
    'deploy',
    'NO_ACCESS',
  ],
  ['a read token may read', { scope: 'read' }, 'hello', 'read', null],
  ['a read token may not deploy', { scope: 'read' }, 'hello', 'deploy', 'TOKEN_SCOPE'],
  ['a deploy token may deploy', { scope: 'deploy' }, 'hello', 'deploy', null],
  ['a deploy token may not manage the tool', { scope: 'deploy' }, 'hello', 'manage', 'TOKEN_SCOPE'],
  ['a maintainer may not manage a disabled tool', {}, 'old', 'manage', 'TOOL_DISABLED'],
  [
    'a token may not read if its maker is not a maintainer',
    { uid: 'bob', scope: 'read' },
    'hello',
    'read',
    'NO_ACCESS',
  ],
  [
    'a tool’s own account may deploy it',
    { uid: 'tools.hello', onlyTool: tool('hello') },
    'hello',
    'deploy',
    null,
  ],
  [
    'a tool’s own account may read it',
    { uid: 'tools.hello', onlyTool: tool('hello') },
    'hello',
    'read',
    null,
  ],
  [
    'a tool’s own account may not read another tool',
    { uid: 'tools.hello', onlyTool: tool('hello') },
    'old',
    'read',
    'NO_ACCESS',
  ],
  [
    'the account of a missing tool may not read anything',
    { uid: 'tools.gone', onlyTool: tool('gone') },
    'gone',
    'read',
    'NO_ACCESS',
  ],
  [
    'a tool’s own account may not read the tool with a credential that is not only for this tool',
    { uid: 'tools.hello' },
    'hello',
    'read',
    'NO_ACCESS',
  ],
  [
    'a tool’s own account may not read another tool, even with a credential for the other tool',
    { uid: 'tools.old', onlyTool: tool('hello') },
    'hello',
    'read',
    'NO_ACCESS',
  ],
  [
    'the own account of a disabled tool may not deploy it',
    { uid: 'tools.old', onlyTool: tool('old') },
    'old',
    'deploy',
    'TOOL_DISABLED',
  ],
  [
    'an operator may deploy a tool without being a maintainer',
    { uid: 'operator', isOperator: true },
    'hello',
    'deploy',
    null,
  ],
  ['an operator may deploy a disabled tool', { uid: 'operator', isOperator: true }, 'old', 'deploy', null],
];
for (const [name, who, what, action, code] of cases) {
  test(`rights to a tool are checked: ${name}`, async () => {
    const decision = authorize(directory, { ...alice, ...who }, tool(what), action, signal);
    if (code === null) assert.equal((await decision).name, what);
    else await assert.rejects(decision, { name: 'DeployError', code });
  });
}

test('threat 29: a person gets the same refusal for a missing tool and for somebody else’s tool', async () => {
  const refusal = async (name: string) =>
    authorize(directory, { ...alice, uid: 'bob' }, tool(name), 'read', signal).then(
      () => assert.fail(),
      (error: Error) => error.message.replaceAll(name, 'TOOL'),
    );
  assert.equal(await refusal('hello'), await refusal('nowhere'));
});

test('threat 29: a deploy token gets the same refusal for another tool of its maker and for missing tools', async () => {
  const token = { ...alice, credential: 'token ci (a1)', onlyTool: tool('hello') };
  for (const name of ['old', 'nowhere', 'foreign'])
    await assert.rejects(authorize(directory, token, tool(name), 'read', signal), {
      code: 'NO_ACCESS',
      message: 'the token ci (a1) is only for the tool hello',
    });
});

test('threat 99: a person has the same rights to a preview as to its tool, and a credential of one tool gives access to no preview of another tool', async () => {
  const previews = new Map([
    ['fix--hello', tool('hello')],
    ['fix--old', tool('old')],
  ]);
  const withPreviews = new PreviewDirectory(directory, (name) => previews.get(name) ?? null);
  const codeFor = async (who: Partial<Principal>, name: string) =>
    await authorize(withPreviews, { ...alice, ...who }, tool(name), 'deploy', signal).then(
      ({ name: found }) => found,
      (error: { code: string }) => error.code,
    );
  assert.equal(await codeFor({}, 'fix--hello'), 'fix--hello');
  assert.equal(await codeFor({}, 'hello'), 'hello');
  assert.equal(await codeFor({ uid: 'bob' }, 'fix--hello'), 'NO_ACCESS');
  assert.equal(await codeFor({}, 'none--hello'), 'NO_ACCESS');
  assert.equal(await codeFor({}, 'fix--old'), 'TOOL_DISABLED');
  const own = { uid: 'tools.hello', onlyTool: tool('hello') };
  assert.equal(await codeFor(own, 'fix--hello'), 'fix--hello');
  assert.equal(await codeFor(own, 'none--hello'), 'NO_ACCESS');
  assert.equal(await codeFor(own, 'fix--old'), 'NO_ACCESS');
  const token = { onlyTool: tool('fix--hello') };
  assert.equal(await codeFor(token, 'fix--hello'), 'fix--hello');
  assert.equal(await codeFor(token, 'hello'), 'NO_ACCESS');
});

test('threat 100: while a tool is being renamed, nobody gets access to it by its old name; afterwards, a new tool may have the old name in directory.yaml, but not in LDAP', async () => {
  let now: ToolName | null = null;
  const begun: ToolName[] = [];
  const asks = (reuse: ((name: ToolName) => void) | null) =>
    new PreviewDirectory(
      directory,
      () => null,
      () => now,
      reuse,
    );
  const inFile = asks((name) => begun.push(name));
  const ask = (names: PreviewDirectory, uid = 'alice') =>
    authorize(names, { ...alice, uid }, tool('hello'), 'manage', signal);
  const endHold = inFile.hold([tool('hello')]);
  await assert.rejects(ask(inFile), { code: 'TOOL_BUSY', message: 'the tool hello is being renamed' });
  await assert.rejects(ask(inFile, 'bob'), { code: 'NO_ACCESS' });
  endHold();
  assert.equal((await ask(inFile)).name, 'hello');
  const asked = inFile.findTool(tool('hello'), signal, { by: 'alice' });
  now = tool('hallo');
  await assert.rejects(asked, { code: 'TOOL_RENAMED' });
  assert.deepEqual(begun, []);
  await assert.rejects(ask(asks(null)), { code: 'TOOL_RENAMED' });
  assert.equal((await ask(inFile)).name, 'hello');
  assert.deepEqual(begun, ['hello']);
});

test('a maintainer of a renamed tool is told the new name, and everybody else gets the answer for a tool that never existed', async () => {
  const renamed = new PreviewDirectory(
    directory,
    () => null,
    (name) => (name === 'hallo' ? tool('hello') : null),
  );
  const asking = (uid: string, name: string) =>
    authorize(renamed, { ...alice, uid }, tool(name), 'read', signal);
  await assert.rejects(asking('alice', 'hallo'), {
    code: 'TOOL_RENAMED',
    message: 'the tool hallo is now called hello',
    hint: /git remote set-url toolforge/,
  });
  await assert.rejects(asking('bob', 'hallo'), {
    code: 'NO_ACCESS',
    message: 'there is no tool hallo that bob maintains',
  });
  await assert.rejects(asking('alice', 'nowhere'), { code: 'NO_ACCESS' });
});
