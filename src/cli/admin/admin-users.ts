import { readFile } from 'node:fs/promises';
import type { UserChanged } from '../../auth/file/directory-yaml.ts';
import { generatePassword } from '../../auth/file/password-hash.ts';
import { fingerprint, keyKind, type PublicKey } from '../../auth/public-key.ts';
import { normalise } from '../../auth/user-name.ts';
import { DeployError, systemCode } from '../../core/errors.ts';
import { oneLine } from '../../core/progress.ts';
import { columns, json } from '../command-line/printing.ts';
import { readText } from '../command-line/read-text.ts';
import { type AdminCommand, type AdminContext, LeftUndone } from './admin-command.ts';

const MAX_PASSWORD_BYTES = 1024;

const add: AdminCommand = {
  name: 'user add',
  usage: 'NAME [--key FILE]… [--password-stdin]',
  summary: 'add a user, or add a key or change the password of a user',
  examples: ['user add alice', 'user add bob --key bob.pub'],
  details: [
    '--key takes a file of public keys (~/.ssh/id_ed25519.pub) and may be repeated.',
    'A new user without --key and --password-stdin gets a generated password, which is shown once.',
  ],
  options: { key: { type: 'string', multiple: true }, 'password-stdin': { type: 'boolean' } },
  words: { min: 1, max: 1 },
  async run(context) {
    const { directory, args, flags, out } = context;
    const name = args[0] ?? '';
    const keyLines = await keyLinesOf(flags['key']);
    const given = flags['password-stdin'] === true ? await passwordFrom(context.input) : null;
    const generated =
      given === null && keyLines === null && !(await directory.hasUser(name)) ? generatePassword() : null;
    const password = given ?? generated;
    const changed = await directory.addUser({
      name,
      ...(keyLines === null ? {} : { keyLines }),
      ...(password === null ? {} : { password }),
    });
    await out(tellOf(changed, generated));
  },
};

const list: AdminCommand = {
  name: 'user list',
  usage: '[--json]',
  summary: 'list all users, with their keys and tools',
  examples: ['user list'],
  details: [
    '--json prints an array of objects with: name, keys (fingerprints), hasPassword, isDisabled, tools.',
  ],
  options: { json: { type: 'boolean' } },
  words: { min: 0, max: 0 },
  async run({ directory, flags, out }) {
    const data = await directory.list();
    const users = [...data.users.values()].map(({ uid, keys, password, isDisabled }) => ({
      name: uid,
      keys: keys.map(({ blob }) => fingerprint(blob)),
      hasPassword: password !== null,
      isDisabled,
      tools: [...data.tools.values()].filter((tool) => tool.maintainers.has(uid)).map((tool) => tool.name),
    }));
    const rows = users.map(({ name, keys, hasPassword, isDisabled, tools }) => [
      isDisabled ? `${name} (disabled)` : name,
      String(keys.length),
      hasPassword ? 'yes' : 'no',
      tools.join(', '),
    ]);
    await out(
      flags['json'] === true ? json(users) : columns([['USER', 'KEYS', 'PASSWORD', 'TOOLS'], ...rows]),
    );
  },
};

const remove: AdminCommand = {
  name: 'user remove',
  usage: 'NAME',
  summary: 'remove a user, who can then neither log in nor push',
  examples: ['user remove bob'],
  details: [
    'A running server revokes the deploy tokens that the user made, so that a later user of the same name cannot use them.',
  ],
  options: {},
  words: { min: 1, max: 1 },
  async run({ directory, revokeTokens, args, out }) {
    const name = args[0] ?? '';
    const theirs = await directory.removeUser(name);
    const { tools } = await directory.list();
    const orphans = theirs.filter((tool) => tools.get(tool)?.maintainers.size === 0);
    await out(
      `Removed ${normalise(name)}${theirs.length === 0 ? '' : `, also as a maintainer of ${theirs.join(', ')}`}.\n`,
    );
    // The user may have made tokens for tools that they no longer maintained. Revoke these tokens too. Otherwise they
    // would work again if a new user of the same name maintained these tools.
    const left: string[] = [];
    for (const tool of tools.keys()) {
      const revoked = await revokeTokens(tool, normalise(name)).catch((error: unknown) => {
        if (!(error instanceof DeployError)) throw error;
        left.push(tool);
        return '';
      });
      if (revoked === null) {
        await out(
          `No server runs, so the deploy tokens that ${normalise(name)} made are not revoked yet. Start the server, then for each tool: npx toolforge-push token revoke TOOL --by ${normalise(name)}\n`,
        );
        break;
      }
      if (revoked !== '') await out(`${tool}: ${revoked}`);
    }
    for (const tool of orphans) {
      await out(
        `${tool} has no maintainer left. Add a maintainer: npx toolforge-push tool add ${tool} --maintainer USER\n`,
      );
    }
    if (left.length > 0) {
      throw new LeftUndone(
        'TOKENS_LEFT',
        `the deploy tokens that ${normalise(name)} made for ${left.join(', ')} could not be revoked`,
        `The log of the server may say why. Then revoke them, for each of the named tools: npx toolforge-push token revoke TOOL --by ${normalise(name)}`,
      );
    }
  },
};

export const userAdminCommands: readonly AdminCommand[] = [add, list, remove];

function tellOf(changed: UserChanged, generated: string | null): string {
  const { uid, addedKeys, knownKeys, isPasswordSet } = changed;
  const isChanged = addedKeys.length > 0 || isPasswordSet;
  const lines = [
    changed.isNew ? `Added ${uid}.` : isChanged ? `Changed ${uid}.` : `Nothing changed for ${uid}.`,
    ...addedKeys.map((key) => `Key added: ${named(key)}`),
    ...knownKeys.map((key) => `Key was there already: ${named(key)}`),
  ];
  if (generated !== null) lines.push(`Password: ${generated}   (shown this once)`);
  else if (isPasswordSet) lines.push('Password set.');
  else if (changed.isNew)
    lines.push(
      `${uid} has no password, so can log in only over SSH. To set a password: npx toolforge-push user add ${uid} --password-stdin`,
    );
  return lines.map((line) => `${line}\n`).join('');
}

function named({ algorithm, blob, comment }: PublicKey): string {
  return `${keyKind(algorithm)} ${fingerprint(blob)} ${oneLine(comment)}`.trimEnd();
}

/**
 * The lines of all key files, without empty lines. Null if the command names no file. @throws DeployError `NO_FILE` if
 * a file cannot be read; `BAD_KEY` if a file is a private key, or if all files are empty.
 */
async function keyLinesOf(files: AdminContext['flags'][string]): Promise<string[] | null> {
  if (!Array.isArray(files)) return null;
  const texts = await Promise.all(files.map((file) => readKeyFile(String(file))));
  const lines = texts.flatMap((text) => text.split('\n')).filter((line) => line.trim() !== '');
  if (lines.length > 0) return lines;
  throw new DeployError(
    'BAD_KEY',
    'the key file is empty',
    'Give the file of a public key, for example ~/.ssh/id_ed25519.pub.',
  );
}

async function readKeyFile(file: string): Promise<string> {
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    if (systemCode(cause) === null) throw cause;
    throw new DeployError('NO_FILE', `the key file ${file} cannot be read`, 'Check its path.', { cause });
  });
  if (!text.includes('PRIVATE KEY-----')) return text;
  throw new DeployError(
    'BAD_KEY',
    `the file ${file} is a private key, which must stay with its owner`,
    `Give the file of the public key: ${file}.pub`,
  );
}

/** Reads a password from standard input. @throws DeployError `BAD_PASSWORD` if the input cannot be a password. */
async function passwordFrom(input: AdminContext['input']): Promise<string> {
  const password = (await readText(input, MAX_PASSWORD_BYTES))?.replace(/\r?\n$/, '');
  // Refuse a password with a control character, because no client may send it: RFC 7617 section 2.
  if (password !== undefined && !/\p{Cc}/u.test(password)) return password;
  throw new DeployError(
    'BAD_PASSWORD',
    `a password is one line of text without tabs or other control characters, at most ${MAX_PASSWORD_BYTES} bytes`,
    'Give the password on standard input, for example: pwgen 20 1 | npx toolforge-push user add NAME --password-stdin',
  );
}
