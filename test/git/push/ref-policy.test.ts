import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ToolName } from '../../../src/core/names.ts';
import { previewRefusal } from '../../../src/core/preview-names.ts';
import { zeroId } from '../../../src/git/push/command-list.ts';
import { judgeRefs } from '../../../src/git/push/ref-policy.ts';

const a = 'a'.repeat(40);
const b = 'b'.repeat(40);

function judge(
  refs: readonly [ref: string, newId?: string][],
  options: {
    atomic?: boolean;
    master?: boolean;
    mostTags?: number;
    mostParked?: number;
    oldId?: string;
    dryRun?: boolean;
    tool?: string;
    shallow?: readonly string[];
  } = {},
) {
  const commands = refs.map(([ref, newId = b]) => ({ oldId: options.oldId ?? a, newId, ref }));
  const capabilities = new Set(['report-status', ...(options.atomic === true ? ['atomic'] : [])]);
  return judgeRefs({
    list: { commands, capabilities, shallow: options.shallow ?? [], pushOptions: [] },
    deployBranch: 'main',
    hasDeployBranch: options.master !== true,
    mostTags: options.mostTags ?? null,
    mostParked: options.mostParked ?? null,
    previewRefusal: (name) => previewRefusal((options.tool ?? 'wikibot') as ToolName, name),
    isDryRun: options.dryRun ?? false,
  }).map((fate) => (fate.kind === 'refuse' ? fate.reason : fate.kind));
}

for (const { name, refs, options, expected } of [
  { name: 'a push of main is deployed', refs: [['refs/heads/main']], expected: [/^deploy$/] },
  {
    name: 'a push of master is deployed while there is no main',
    refs: [['refs/heads/master']],
    options: { master: true },
    expected: [/^deploy$/],
  },
  {
    name: 'a push of master is refused if there is a main, and the reason names the right command',
    refs: [['refs/heads/master']],
    expected: [/git push toolforge master:main/],
  },
  {
    name: 'a push of another branch is refused, and the reason names the right command',
    refs: [['refs/heads/fix']],
    expected: [/git push toolforge fix:main, or .*: git push toolforge fix:preview\/fix$/],
  },
  {
    name: 'the refusal of a push to another branch suggests a preview with a valid name made from the name of the branch',
    refs: [
      'refs/heads/Feature/42_Login-',
      'refs/heads/2.0',
      'refs/heads/1-fix',
      `refs/heads/${'x'.repeat(40)}--y`,
      'refs/heads/Größe',
    ].map((ref) => [ref] as [string]),
    expected: [
      /Feature\/42_Login-:preview\/feature-42-login$/,
      /2\.0:main$/,
      /1-fix:preview\/fix$/,
      new RegExp(`:preview/${'x'.repeat(30)}$`),
      /HEAD:preview\/gr-e$/,
    ],
  },
  {
    name: 'if a tool can have no previews, the refusal of a push to another branch suggests no preview',
    refs: [['refs/heads/fix']],
    options: { tool: 'my_tool' },
    expected: [/git push toolforge fix:main$/],
  },
  {
    name: 'threat 33: the refusal of a branch whose name has shell characters does not repeat the name',
    refs: [['refs/heads/$(reboot)']],
    expected: [/git push toolforge HEAD:main, or .* HEAD:preview\/reboot$/],
  },
  {
    name: 'a push of a preview branch is deployed',
    refs: [['refs/heads/preview/fix-2']],
    expected: [/^deploy$/],
  },
  {
    name: 'threat 46: a preview from a shallow clone is refused, because it would cut off the history of main',
    refs: [['refs/heads/preview/fix']],
    options: { shallow: [a] },
    expected: [/from a shallow clone; first: git fetch --unshallow/],
  },
  {
    name: 'threat 33: a preview whose name cannot be part of a host name is refused, and the reason says which characters are allowed',
    refs: [
      ...['Fix', '1x', '-x', 'x-', 'a--b', 'a_b', 'a.b', 'a/b', 'ä', '$(reboot)', ''],
      ...[`${'x'.repeat(55)}`],
    ].map((name) => [`refs/heads/preview/${name}`] as [string]),
    expected: [
      ...Array(11).fill(/lower-case letters, digits and single hyphens.*preview\/fix-login$/),
      /at most 54 characters/,
    ],
  },
  {
    name: 'threat 33: a preview with a name of two characters, such as xn, is refused, because a browser could show xn--wikibot as another name',
    refs: [['refs/heads/preview/xn'], ['refs/heads/preview/ab']],
    expected: [/cannot have two characters/, /cannot have two characters/],
  },
  {
    name: 'a preview may be so long that its host name has 63 characters before the domain',
    refs: [[`refs/heads/preview/${'x'.repeat(54)}`]],
    expected: [/^deploy$/],
  },
  {
    name: 'a tool whose name has two hyphens in a row has no previews',
    refs: [['refs/heads/preview/x']],
    options: { tool: 'x--y' },
    expected: [/x--y can have no previews, because its own name has two hyphens/],
  },
  {
    name: 'a tool whose name cannot be part of a host name has no previews',
    refs: [['refs/heads/preview/x']],
    options: { tool: 'my_tool' },
    expected: [/underscore/],
  },
  {
    name: 'a tool whose name is so long that no host name of a preview would fit can have no previews',
    refs: [['refs/heads/preview/x']],
    options: { tool: 'x'.repeat(61) },
    expected: [/too long/],
  },
  {
    name: 'the deletion of a preview branch ends the preview',
    refs: [['refs/heads/preview/x', zeroId]],
    expected: [/^end-preview$/],
  },
  {
    name: 'the deletion of the branch of a preview that is not live ends the preview',
    refs: [['refs/heads/preview/x', zeroId]],
    options: { oldId: zeroId },
    expected: [/^end-preview$/],
  },
  {
    name: 'a dry run of a push to a preview branch is accepted, and a dry run of its deletion is refused',
    refs: [['refs/heads/preview/x'], ['refs/heads/preview/y', zeroId]],
    options: { dryRun: true },
    expected: [/^deploy$/, /a delete cannot be part of a dry run/],
  },
  {
    name: 'a push that deploys main can neither make nor end a preview',
    refs: [['refs/heads/preview/y', zeroId], ['refs/heads/main'], ['refs/heads/preview/x']],
    expected: [/needs a push of its own/, /^deploy$/, /only one branch/],
  },
  {
    name: 'an atomic push cannot end a preview',
    refs: [['refs/heads/preview/y', zeroId], ['refs/tags/v1']],
    options: { atomic: true },
    expected: [/a delete cannot be part of an atomic push/, /atomic push failure/],
  },
  {
    name: 'threat 44: the deploy branch cannot be deleted',
    refs: [['refs/heads/main', zeroId]],
    expected: [/cannot be deleted/],
  },
  { name: 'threat 45: a pushed tag is stored', refs: [['refs/tags/v1']], expected: [/^store$/] },
  {
    name: 'threat 37: if a tool has 10,000 tags, a push of main and a new tag is deployed, but the tag is refused',
    refs: [['refs/heads/main'], ['refs/tags/v1']],
    options: { mostTags: 10_000, oldId: zeroId },
    expected: [/^deploy$/, /a tool can have 10000 tags; delete some/],
  },
  {
    name: 'threat 228: while 2,000 tags of atomic pushes wait for deployments, an atomic push of main and a tag is refused',
    refs: [['refs/heads/main'], ['refs/tags/v1']],
    options: { mostParked: 2000, atomic: true },
    expected: [/atomic push failure/, /2000 tags of atomic pushes wait for deployments; push again/],
  },
  {
    name: 'while 2,000 tags of atomic pushes wait for deployments, a push of main and a tag without --atomic is accepted',
    refs: [['refs/heads/main'], ['refs/tags/v1']],
    options: { mostParked: 2000 },
    expected: [/^deploy$/, /^store$/],
  },
  {
    name: 'if a tool has 10,000 tags, its tags can still be moved and deleted',
    refs: [['refs/tags/v1'], ['refs/tags/v2', zeroId]],
    options: { mostTags: 10_000 },
    expected: [/^store$/, /^store$/],
  },
  {
    name: 'threat 37: a tag whose name is longer than 255 bytes is refused',
    refs: [[`refs/tags/${'é'.repeat(122)}`], [`refs/tags/${'é'.repeat(123)}`]],
    expected: [/^store$/, /longer than 255 bytes/],
  },
  {
    name: 'threat 37: a tag whose name has more than eight parts is refused, because each part is a folder; such a tag can be deleted',
    refs: [
      [`refs/tags/${'d/'.repeat(7)}v1`],
      [`refs/tags/${'d/'.repeat(8)}v1`],
      [`refs/tags/${'d/'.repeat(8)}v1`, zeroId],
    ],
    expected: [/^store$/, /can have 8 parts between slashes, and this name has more/, /^store$/],
  },
  { name: 'a tag may be deleted', refs: [['refs/tags/v1', zeroId]], expected: [/^store$/] },
  {
    name: 'an atomic push cannot delete a tag',
    refs: [['refs/tags/v1', zeroId]],
    options: { atomic: true },
    expected: [/atomic/],
  },
  {
    name: 'threat 38: a push of git notes is refused',
    refs: [['refs/notes/commits']],
    expected: [/^refs\/notes is not stored/],
  },
  {
    name: 'threat 38: a push of git replacements is refused',
    refs: [['refs/replace/x']],
    expected: [/^refs\/replace is not stored/],
  },
  {
    name: 'clients cannot push to the refs of parked pushes',
    refs: [['refs/deployments/x']],
    expected: [/^refs\/deployments is not stored/],
  },
  {
    name: 'clients cannot push to the refs of releases',
    refs: [['refs/releases/v1']],
    expected: [/^refs\/releases is not stored/],
  },
  { name: 'a push of HEAD is refused', refs: [['HEAD']], expected: [/^HEAD is not stored/] },
  {
    name: 'threat 49: of a push of main and a tag, main is deployed and the tag is stored',
    refs: [['refs/heads/main'], ['refs/tags/v1']],
    expected: [/^deploy$/, /^store$/],
  },
  {
    name: 'a push of main and a refused branch deploys main if the push is not atomic',
    refs: [['refs/heads/main'], ['refs/heads/x']],
    expected: [/^deploy$/, /x:main/],
  },
  {
    name: 'if one ref of an atomic push is refused, all its refs are refused',
    refs: [['refs/heads/main'], ['refs/heads/x']],
    options: { atomic: true },
    expected: [/^atomic push failure$/, /x:main/],
  },
] as {
  name: string;
  refs: [string, string?][];
  options?: Parameters<typeof judge>[1];
  expected: RegExp[];
}[]) {
  test(name, () => {
    const fates = judge(refs, options);
    assert.equal(fates.length, expected.length);
    for (const [index, pattern] of expected.entries()) assert.match(fates[index] ?? '', pattern);
  });
}

test('threat 49: if a push names a branch three times, the first of the three refs is deployed, and the other two are refused', () => {
  const fates = judge([['refs/heads/main', a], ['refs/heads/main'], ['refs/heads/main', 'c'.repeat(40)]]);
  assert.deepEqual(fates, [
    'deploy',
    'one push can deploy only one branch; push this branch by itself',
    'one push can deploy only one branch; push this branch by itself',
  ]);
});

test('threat 37: the ref policy accepts 501 tags in one push, because an operator may allow so many', () => {
  const fates = judge(Array.from({ length: 501 }, (_, index) => [`refs/tags/t${index}`] as [string]));
  assert.ok(fates.every((fate) => fate === 'store'));
});
