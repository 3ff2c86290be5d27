import { chmod, cp, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { ASource } from '../../builder/buildpacks/run-buildpack.ts';
import { fixtures, productBuildpacks } from '../../builder/support/a-builder.ts';
import { type Sample, SampleBuildpacks } from '../../builder/support/sample-buildpacks.ts';
import { BothBuilders } from './both-builders.ts';
import { ImageTrees } from './image-trees.ts';

/** A `bin/build` that records its inputs and makes one process. */
const record = `
  name=$(basename "$CNB_LAYERS_DIR")
  cat "$CNB_BP_PLAN_PATH" >"plan-$name.toml"
  env | grep -E '^(PATH|LD_LIBRARY_PATH|LIBRARY_PATH|CPATH|PKG_CONFIG_PATH|V_[A-Z]*)=' | sort |
    sed "s|$(dirname "$CNB_LAYERS_DIR")|/layers|g" >"environment-$name.txt"
  printf '[[processes]]\\ntype = "p"\\ncommand = ["%s"]\\nargs = ["a", "b"]\\ndefault = true\\n' "$name" >"$CNB_LAYERS_DIR/launch.toml"`;

const provides = (...names: string[]) => names.map((name) => `[[provides]]\nname = "${name}"\n`).join('');
const requires = (...names: string[]) =>
  names
    .map((name) => `[[requires]]\nname = "${name}"\nmetadata = { launch = true, version = "1.${name}" }\n`)
    .join('');
const or = (text: string) => `[[or]]\n${text.replaceAll('[[', '[[or.')}`;
const plan = (text: string, build = ''): Sample => ({
  detect: `cat >"$CNB_BUILD_PLAN_PATH" <<'T'\n${text}T`,
  build: record + build,
});
const fails: Sample = { detect: 'exit 100', build: '' };
const breaks: Sample = { detect: 'exit 5', build: '' };

/** The order.toml for a text such as `a b? | c`: `|` separates groups, `?` marks optional buildpacks. */
function order(text: string): string {
  const groups = text.split('|').map((group) => {
    const members = group.trim().split(/\s+/);
    return `[[order]]\n${members
      .map(
        (member) =>
          `[[order.group]]\nid = "sample/${member.replace('?', '')}"\nversion = "1"\noptional = ${member.endsWith('?')}\n`,
      )
      .join('')}`;
  });
  return groups.join('');
}

const withLayer = (types: string, env: string) => `
  layer=$CNB_LAYERS_DIR/l; mkdir -p "$layer"/{bin,lib,include,pkgconfig,env,env.build,env.launch}
  ${env}
  printf '[types]\\n${types}' >"$CNB_LAYERS_DIR/l.toml"`;
const setEnv = `printf 1 >"$layer/env/V_PLAIN"; printf x >"$layer/env/V_JOIN.append"; printf - >"$layer/env/V_JOIN.delim"
  printf y >"$layer/env.build/V_JOIN.prepend"; printf d >"$layer/env/V_DEFAULT.default"; printf no >"$layer/env.launch/V_LAUNCH"`;

const cases: { name: string; buildpacks: Record<string, Sample>; order: string }[] = [
  { name: 'a buildpack without requirements', buildpacks: { a: plan('') }, order: 'a' },
  {
    name: 'one provider for two requirers',
    buildpacks: { a: plan(provides('x') + requires('x')), b: plan(requires('x')), c: plan(requires('x')) },
    order: 'a b c',
  },
  {
    name: 'a buildpack that requires what a later buildpack provides',
    buildpacks: { a: plan(requires('x')), b: plan(provides('x')) },
    order: 'a b',
  },
  {
    name: 'an optional buildpack dropped because of its require',
    buildpacks: { a: plan(''), b: plan(requires('x')) },
    order: 'a b?',
  },
  {
    name: 'an optional buildpack dropped because of its provide',
    buildpacks: { a: plan(provides('x')), b: plan('') },
    order: 'a? b',
  },
  {
    name: 'an optional buildpack dropped because another is dropped',
    buildpacks: { a: plan(provides('x') + requires('y')), b: plan(requires('x')), c: plan('') },
    order: 'a? b? c',
  },
  {
    name: 'buildpacks with alternative plans',
    buildpacks: { a: plan(provides('x') + or(provides('y'))), b: plan(requires('z') + or(requires('y'))) },
    order: 'a b',
  },
  {
    name: 'an optional buildpack with alternatives',
    buildpacks: { a: plan(provides('x') + or(provides('y') + requires('y'))), b: plan('') },
    order: 'a? b',
  },
  {
    name: 'a second group, because the first group fails',
    buildpacks: { a: fails, b: plan(''), c: plan(requires('x')) },
    order: 'a b | c | b',
  },
  {
    name: 'an optional buildpack that fails and one that breaks',
    buildpacks: { a: fails, b: breaks, c: plan('') },
    order: 'a? b? c',
  },
  { name: 'a required buildpack that breaks', buildpacks: { a: breaks, b: plan('') }, order: 'a b | b' },
  { name: 'groups that all fail', buildpacks: { a: fails }, order: 'a | a?' },
  {
    name: 'two providers, of which the first leaves the plan entry unmet',
    buildpacks: {
      a: plan(provides('x', 'y'), `\nprintf '[[unmet]]\\nname = "y"\\n' >"$CNB_LAYERS_DIR/build.toml"`),
      b: plan(provides('x', 'y')),
      c: plan(requires('x', 'y')),
    },
    order: 'a b c',
  },
  {
    name: 'the build environment of earlier layers',
    buildpacks: {
      a: plan('', withLayer('build = true\\n', setEnv)),
      b: plan('', withLayer('build = true\\ncache = true\\n', setEnv)),
      c: plan(''),
    },
    order: 'a b c',
  },
  {
    name: 'layers that are not for builds',
    buildpacks: {
      a: plan('', withLayer('launch = true\\n', setEnv)),
      b: plan('', withLayer('cache = true\\n', setEnv)),
      c: plan(''),
    },
    order: 'a b c',
  },
  {
    name: 'a default process that a later buildpack replaces',
    buildpacks: {
      a: plan(''),
      b: { build: `${record}\nsed -i s/default.*// "$CNB_LAYERS_DIR/launch.toml"` },
    },
    order: 'a b',
  },
];

let trees: ImageTrees;
before(async () => {
  trees = await ImageTrees.mount();
});
after(async () => trees?.[Symbol.asyncDispose]());

for (const { name, buildpacks, order: text } of cases) {
  test(`the CNB lifecycle and the builder for one machine get the same result from the same buildpacks: ${name}`, async () => {
    await using samples = await SampleBuildpacks.write(buildpacks, order(text));
    await using source = await ASource.of({ 'file.txt': '' });
    const variables = { V_USER: 'of the user', PATH: '/first' };
    await using both = await BothBuilders.open(samples.folder, trees);
    await both.compare(source.folder, variables);
  });
}

test('for every sample tool except own-buildpack, the CNB lifecycle and the builder for one machine choose the same buildpacks and build plans', async () => {
  const recording = await mkdtemp(join(tmpdir(), 'recording-'));
  await cp(productBuildpacks, recording, { recursive: true, dereference: true });
  for (const name of await readdir(recording)) {
    if (name.includes('.') || name === 'shared') continue;
    await writeFile(join(recording, name, 'bin/build'), `#!/usr/bin/env bash\nset -eu\n${record}\n`);
    await chmod(join(recording, name, 'bin/build'), 0o755);
  }
  await using both = await BothBuilders.open(recording, trees);
  for (const fixture of await readdir(fixtures)) {
    // The lifecycle alone does not read project.toml, which names the buildpack of this tool.
    if (fixture === 'own-buildpack') continue;
    await both.compare(join(fixtures, fixture), {});
  }
  await rm(recording, { recursive: true });
});
