import { randomBytes } from 'node:crypto';
import { encodeCommandList, type RefCommand, zeroId } from '../../../src/git/push/command-list.ts';
import { pktLine } from '../../../src/git/push/pkt-line.ts';
import { HandMadePack } from './bad-input-packs.ts';

/** A push that git would not send, and the answer to its client. */
export interface BadPush {
  readonly name: string;
  readonly times: number;
  /** What the client sends: each body is a push of its own, one after the other. */
  readonly bodies: readonly Buffer[];
  readonly answer: RegExp;
}

const MiB = 1024 * 1024;
const MAIN = 'refs/heads/main';
const CAPABILITIES = ['report-status', 'side-band-64k'];
const HOSTILE_REFS = [
  'HEAD',
  'config',
  '../../quiet.git/refs/heads/main',
  'refs/heads/../../config',
  'refs/heads/main.lock',
  'refs/heads/--upload-pack=touch',
  'refs/deployments/20260101-000000-aaaaaaaaaa',
  'refs/parked/x/0',
  'refs/releases/v1',
  'refs/replace/1',
  'refs/tags/../heads/main',
  'refs/tags/a.lock',
  'refs/tags/a b\u0007',
  'refs/tags/',
];
const HOSTILE_TREES: readonly (readonly (readonly [mode: string, name: string])[])[] = [
  [['40000', '.git']],
  [['40000', '..']],
  [['40000', 'GIT~1']],
  [['40000', '.g\u200cit']],
  [['100644', '../../escape']],
  [['120000', '.gitmodules']],
  [
    ['100644', 'a'],
    ['100644', 'a'],
  ],
];

/** Returns the command list of a push: by default, `commit` goes to the deploy branch. */
function list(
  commit: string,
  commands: readonly RefCommand[] = [update(commit)],
  options?: string[],
): Buffer {
  const capabilities = new Set([...CAPABILITIES, ...(options === undefined ? [] : ['push-options'])]);
  return encodeCommandList({ commands, capabilities, shallow: [], pushOptions: options ?? [] });
}

const update = (newId: string, ref: string = MAIN): RefCommand => ({ oldId: zeroId, newId, ref });

/** Returns all bad pushes. @param first - The live commit, which the repository already has. */
export function badPushes(first: string): BadPush[] {
  return [...malformed(first), ...refused(first), ...brokenPacks(), ...bombs(), hostileTrees()];
}

function malformed(first: string): BadPush[] {
  const endless = Buffer.alloc(2 * MiB, pktLine(`shallow ${zeroId}`));
  const noList = /[Tt]his is not a push of git/;
  return [
    {
      name: 'threat 24: text that is not a pkt-line',
      times: 16,
      bodies: [Buffer.from('zzzz hello')],
      answer: noList,
    },
    { name: 'threat 24: a pkt-line of length 3', times: 16, bodies: [Buffer.from('0003')], answer: noList },
    {
      name: 'threat 24: a pkt-line above 65,520',
      times: 16,
      bodies: [Buffer.alloc(70_000, 'f')],
      answer: noList,
    },
    {
      name: 'threat 24: a line that is not a ref update',
      times: 16,
      bodies: [pktLine('hello')],
      answer: noList,
    },
    {
      name: 'threat 24: an endless command list',
      times: 16,
      bodies: [endless],
      answer: /his shallow clone ends at more than 2500 commits/,
    },
    {
      name: 'threat 24: a truncated command list',
      times: 16,
      bodies: [list(first).subarray(0, 60)],
      answer: /before it named a ref to push|[Gg]it does not understand the request/,
    },
  ];
}

function refused(first: string): BadPush[] {
  const tags = Array.from({ length: 501 }, (_, index) => update(first, `refs/tags/t${index}`));
  const hostile = HOSTILE_REFS.map((ref) => update(first, ref));
  const deleted = { oldId: first, newId: zeroId, ref: MAIN };
  return [
    {
      name: `threat 33: ${HOSTILE_REFS.length} hostile refs`,
      times: 16,
      bodies: [Buffer.concat([list(first, hostile), new HandMadePack().bytes()])],
      answer: new RegExp(`(ng \\S[^\\n]+\\n[\\s\\S]*?){${HOSTILE_REFS.length}}`),
    },
    {
      name: 'threat 37: more refs than a push may have',
      times: 16,
      bodies: [list(first, tags)],
      answer: /this push has 501 refs, and one push may have 500/,
    },
    {
      name: 'threat 44: deletion of the deploy branch',
      times: 16,
      bodies: [list(first, [deleted])],
      answer: /ng refs\/heads\/main main is live and cannot be deleted/,
    },
    {
      name: 'threat 48: an unknown push option',
      times: 16,
      bodies: [list(first, undefined, ['exec=\u001b]0;x\u0007id'])],
      answer: /unknown push option "exec=id"/,
    },
  ];
}

function brokenPacks(): BadPush[] {
  const pack = new HandMadePack();
  const commit = pack.addCommit(pack.addTree([['100644', 'a', pack.add('blob', randomBytes(100_000))]]));
  const whole = pack.bytes();
  const flipped = Buffer.from(whole);
  flipped.writeUInt8(flipped.readUInt8(50_000) ^ 1, 50_000);
  const empty = new HandMadePack();
  const orphan = empty.addCommit('1'.repeat(40));
  const lone = new HandMadePack();
  const blob = lone.add('blob', Buffer.from('no commit'));
  const answer = /unpack (?!ok)[\s\S]*ng refs\/heads\/main/;
  const push = (name: string, bytes: Buffer, id = commit, told = answer): BadPush => ({
    name: `threat 35: ${name}`,
    times: 8,
    bodies: [Buffer.concat([list(id), bytes])],
    answer: told,
  });
  return [
    push('noise instead of a pack', randomBytes(MiB)),
    push('a truncated pack', whole.subarray(0, 60_000)),
    push('a pack with one flipped bit', flipped),
    push('a pack of 4 billion objects', pack.bytes(0xffff_ffff)),
    push('no pack', Buffer.alloc(0)),
    push('a commit without its tree', empty.bytes(), orphan, /ng refs\/heads\/main/),
    push('a blob instead of a commit', lone.bytes(), blob, /ng refs\/heads\/main/),
  ];
}

function bombs(): BadPush[] {
  const delta = new HandMadePack();
  delta.addRepeated(delta.add('blob', Buffer.alloc(0xff_ffff)), 0xff_ffff, 600);
  const deltaCommit = delta.addCommit(delta.addTree([]));
  const zeros = new HandMadePack();
  const zerosCommit = zeros.addCommit(
    zeros.addTree([['100644', 'a', zeros.add('blob', Buffer.alloc(80 * MiB))]]),
  );
  const folders = new HandMadePack();
  let tree = folders.addTree([]);
  for (let level = 0; level < 12; level += 1) {
    const child = tree;
    tree = folders.addTree(Array.from({ length: 10 }, (_, index) => ['40000', `d${index}`, child] as const));
  }
  const foldersCommit = folders.addCommit(tree);
  return [
    {
      name: 'threat 35: 16 kB that need 10 GB',
      times: 4,
      bodies: [Buffer.concat([list(deltaCommit), delta.bytes()])],
      answer: /attempting to allocate 1006\d+ over limit/,
    },
    {
      name: 'threat 35: 80 MiB of zeros in 80 kB',
      times: 2,
      bodies: [Buffer.concat([list(zerosCommit), zeros.bytes()])],
      answer: /ng refs\/heads\/main the commit has more than 64 MiB of files/,
    },
    {
      name: 'threat 36: 10^12 folders of 13 objects',
      times: 4,
      bodies: [Buffer.concat([list(foldersCommit), folders.bytes()])],
      answer: /ng refs\/heads\/main the commit has more than 50000 folders/,
    },
  ];
}

function hostileTrees(): BadPush {
  const bodies = HOSTILE_TREES.map((entries) => {
    const pack = new HandMadePack();
    const blob = pack.add('blob', Buffer.from('x'));
    const inner = pack.addTree([['100644', 'x', blob]]);
    const rows = entries.map(([mode, name]) => [mode, name, mode === '40000' ? inner : blob] as const);
    const commit = pack.addCommit(pack.addTree(rows));
    return Buffer.concat([list(commit), pack.bytes()]);
  });
  const answer = /unpack (?!ok)[\s\S]*ng refs\/heads\/main/;
  return { name: `threat 32: ${bodies.length} hostile trees`, times: 4, bodies, answer };
}

/** The text of a server's answer to a push, without packet headers and side bands. */
export function plain(answer: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: a packet may begin in the middle of a line
  return answer.replace(/[0-9a-f]{4}[\u0001-\u0003]/g, '');
}
