import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { Directory, OfferedKey } from '../../src/auth/directory.ts';
import { toolName } from '../../src/core/names.ts';

/** A description of people and tools, from which each back end makes its own data. */
export interface DirectoryDescription {
  readonly users: readonly {
    readonly name: string;
    /** Lines as in authorized_keys or sshPublicKey. Some may be invalid. */
    readonly keys?: readonly string[];
    readonly password?: string;
    readonly isDisabled?: boolean;
  }[];
  readonly tools: readonly {
    readonly name: string;
    readonly maintainers: readonly string[];
    readonly isDisabled?: boolean;
  }[];
}

export interface DirectoryUnderTest extends AsyncDisposable {
  readonly directory: Directory;
  /** Replaces all data of the back end. The next call sees the new data. */
  change(description: DirectoryDescription): Promise<void>;
  /** Makes the back end unable to answer. */
  takeAway(): Promise<void>;
}

const signal = AbortSignal.timeout(120_000);
const hello = toolName('hello') ?? assert.fail();
const wikibot = toolName('wikibot') ?? assert.fail();
const nowhere = toolName('nowhere') ?? assert.fail();

/** The promises of every Directory. */
export function directoryContract(
  name: string,
  make: (description: DirectoryDescription) => Promise<DirectoryUnderTest>,
): void {
  describe(`${name} as a Directory`, { concurrency: false }, () => {
    const folder = mkdtempSync(join(tmpdir(), 'contract-keys-'));
    const key = (file: string, ...type: string[]) => makeKey(join(folder, file), type);
    const laptop = key('laptop', '-t', 'ed25519');
    const desktop = key('desktop', '-t', 'ecdsa', '-b', '256');
    const old = key('old', '-t', 'rsa', '-b', '2048');
    const bobs = key('bobs', '-t', 'ed25519');
    const shared = key('shared', '-t', 'ed25519');
    const stranger = key('stranger', '-t', 'ed25519');
    const gone = key('gone', '-t', 'ed25519');
    const description: DirectoryDescription = {
      users: [
        {
          name: 'alice',
          password: 'correct horse',
          keys: [
            'ssh-ed25519 AAAAgarbage alice@nowhere',
            `command="id",no-pty ${stranger}`,
            'sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAIA alice@yubikey',
            `${laptop}\n${stranger}`,
            laptop,
            desktop,
            old,
            shared,
          ],
        },
        { name: 'bob', password: 'battery staple', keys: [bobs, shared] },
        { name: 'björn', password: 'på riktigt' },
        { name: 'carol', password: 'gone fishing', keys: [gone], isDisabled: true },
        { name: 'dave', keys: [] },
      ],
      tools: [
        { name: 'hello', maintainers: ['alice', 'carol'] },
        { name: 'wikibot', maintainers: ['alice', 'bob'], isDisabled: true },
      ],
    };
    let under: DirectoryUnderTest;
    before(async () => {
      under = await make(description);
    });
    after(async () => {
      await under[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true });
    });
    const byKey = async (login: string, line: string) =>
      (await under.directory.identifyByKey(login, offered(line), signal))?.uid ?? null;
    const byPassword = async (login: string, password: string) =>
      (await under.directory.identifyByPassword(login, password, signal))?.uid ?? null;

    for (const [login, line, uid, promise] of [
      ['alice', laptop, 'alice', 'an ed25519 key logs its owner in'],
      ['alice', desktop, 'alice', 'an ECDSA key logs its owner in'],
      ['alice', old, 'alice', 'an RSA key logs its owner in'],
      ['alice', bobs, null, 'another person’s key is refused'],
      ['bob', laptop, null, 'a person’s key is refused for another name'],
      [
        'alice',
        stranger,
        null,
        'threat 13: a key that follows options or a line break in a line of the user directory is refused',
      ],
      ['mallory', laptop, null, 'a key with an unknown name is refused'],
      ['dave', laptop, null, 'a key for a person without keys is refused'],
      ['carol', gone, null, 'threat 12: the key of a disabled account is refused'],
      [' Alice ', laptop, 'alice', 'threat 10: letter case and surrounding spaces of a login do not matter'],
      ['tools.hello', laptop, 'alice', 'a maintainer’s key with a tool’s login logs the maintainer in'],
      ['tool.wikibot', bobs, 'bob', 'a maintainer’s key with the login tool.NAME logs the maintainer in'],
      ['tools.hello', bobs, null, 'another person’s key with a tool’s login is refused'],
      ['tools.hello', gone, null, 'threat 12: a disabled maintainer’s key with a tool’s login is refused'],
      ['tools.nowhere', laptop, null, 'a key with the login of a missing tool is refused'],
      ['tools.../..', laptop, null, 'threat 11: a key with the login of an invalid tool name is refused'],
      ['git', bobs, 'bob', 'a key with the login git logs its owner in'],
      ['git', stranger, null, 'an unknown key with the login git is refused'],
      ['git', shared, null, 'a key of two people with the login git is refused'],
      ['bob', shared, 'bob', 'a key of two people logs in the person whose name is the login'],
      ['', laptop, null, 'a key with an empty login is refused'],
      ['*)(uid=*', laptop, null, 'threat 2: a key with an LDAP filter as the login is refused'],
      ['a,ou=x', laptop, null, 'threat 3: a key with an LDAP distinguished name as the login is refused'],
    ] as const) {
      test(`by key: ${promise} (${JSON.stringify(login)})`, async () => {
        assert.equal(await byKey(login, line), uid);
      });
    }

    test('by key: a login with a tool’s name does not limit the maintainer to that tool', async () => {
      assert.deepEqual(await under.directory.identifyByKey('tools.hello', offered(laptop), signal), {
        uid: 'alice',
        onlyTool: null,
      });
    });

    test('by key: a hardware key identifies nobody', async () => {
      const blob = offered(laptop).blob;
      const key = { algorithm: 'sk-ssh-ed25519@openssh.com', blob };
      assert.equal(await under.directory.identifyByKey('alice', key, signal), null);
    });

    for (const [login, password, uid, promise] of [
      ['alice', 'correct horse', 'alice', 'the right password logs in'],
      ['alice', 'Correct horse', null, 'a wrong password is refused'],
      ['alice', 'battery staple', null, 'another person’s password is refused'],
      ['alice', '', null, 'threat 1: an empty password is refused'],
      ['dave', '', null, 'threat 1: an empty password is refused if the person has no password'],
      ['dave', 'x', null, 'a password is refused if the person has no password'],
      ['mallory', 'correct horse', null, 'a password with an unknown name is refused'],
      ['carol', 'gone fishing', null, 'threat 12: the password of a disabled account is refused'],
      [
        'ALICE ',
        'correct horse',
        'alice',
        'threat 10: letter case and surrounding spaces of a name do not matter',
      ],
      ['BJO\u0308RN', 'på riktigt', 'björn', 'threat 10: two ways to write an umlaut are one name'],
      ['*)(uid=*', 'correct horse', null, 'threat 2: an LDAP filter as the name is refused'],
      ['alice,ou=x', 'correct horse', null, 'threat 3: an LDAP distinguished name as the name is refused'],
      ['git', 'correct horse', null, 'the login git is refused'],
      ['tools.hello', 'correct horse', null, 'a person’s password with a tool’s login is refused'],
    ] as const) {
      test(`by password: ${promise} (${JSON.stringify(login)})`, async () => {
        assert.equal(await byPassword(login, password), uid);
      });
    }

    test('the maintainers of a tool do not include disabled accounts', async () => {
      const tool = await under.directory.findTool(hello, signal);
      assert.deepEqual(tool, { name: hello, maintainers: new Set(['alice']), isDisabled: false });
      assert.equal((await under.directory.findTool(wikibot, signal))?.isDisabled, true);
      assert.equal(await under.directory.findTool(nowhere, signal), null);
    });

    test('the tools of a person are sorted by name', async () => {
      assert.deepEqual(await under.directory.toolsOf('alice', signal), [hello, wikibot]);
      assert.deepEqual(await under.directory.toolsOf('dave', signal), []);
      assert.deepEqual(await under.directory.toolsOf('mallory', signal), []);
    });

    test('a call whose signal is aborted fails as if the user directory did not answer', async () => {
      const aborted = AbortSignal.abort();
      for (const call of calls(under.directory, laptop, aborted)) {
        await assert.rejects(call, { code: 'DIRECTORY_UNAVAILABLE' });
      }
    });

    test('threat 8: a change of the user directory applies from the next call on', async () => {
      await under.change({
        users: description.users.filter((user) => user.name !== 'bob'),
        tools: [{ name: 'hello', maintainers: ['alice', 'dave'] }],
      });
      assert.equal(await byKey('bob', bobs), null);
      assert.equal(await byPassword('bob', 'battery staple'), null);
      assert.deepEqual(
        (await under.directory.findTool(hello, signal))?.maintainers,
        new Set(['alice', 'dave']),
      );
      assert.equal(await under.directory.findTool(wikibot, signal), null);
      assert.deepEqual(await under.directory.toolsOf('dave', signal), [hello]);
    });

    test('threat 6: if the user directory cannot answer, each call throws instead of refusing, but an empty password is still refused', async () => {
      await under.takeAway();
      for (const call of calls(under.directory, laptop, signal)) {
        await assert.rejects(call, { name: 'DeployError', code: 'DIRECTORY_UNAVAILABLE' });
      }
      assert.equal(await byPassword('alice', ''), null);
    });
  });
}

function calls(directory: Directory, line: string, limit: AbortSignal): (() => Promise<unknown>)[] {
  return [
    () => directory.identifyByKey('alice', offered(line), limit),
    () => directory.identifyByPassword('alice', 'correct horse', limit),
    () => directory.identifyByPassword('alice', 'wrong', limit),
    () => directory.findTool(hello, limit),
    () => directory.toolsOf('alice', limit),
  ];
}

function offered(line: string): OfferedKey {
  const [algorithm = '', base64 = ''] = line.split(' ');
  return { algorithm, blob: Buffer.from(base64, 'base64') };
}

function makeKey(file: string, type: readonly string[]): string {
  execFileSync('ssh-keygen', ['-q', '-N', '', '-C', 'someone@laptop', ...type, '-f', file]);
  return readFileSync(`${file}.pub`, 'utf8').trim();
}
