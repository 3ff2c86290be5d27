import { existsSync } from 'node:fs';
import { appendFile, cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { execa } from 'execa';
import type { TestServer } from '../../test/support/server.ts';
import { WorkTree } from '../../test/support/work-tree.ts';
import { type Figure, type Row, withUnit } from '../figure.ts';
import { interleaved, milliseconds, type Samples } from '../rounds.ts';
import { startBuildServer } from '../servers.ts';
import { median } from '../statistics.ts';
import { pushSeen } from '../work.ts';

const fixtures = resolve(import.meta.dirname, '../../test/fixtures');

/** A sample tool, and what a person types to build it. */
export interface Language {
  readonly name: string;
  /** The sample tool in test/fixtures. */
  readonly fixture: string;
  /** The file that a build reads to install packages. A new line at its end makes a build install everything again. */
  readonly lock: string;
  /** A source file, and the beginning of a comment in it. */
  readonly source: string;
  readonly comment: string;
  /** The program that must be on this machine for the steps by hand. */
  readonly program: string;
  /** What a person types for a fresh clone, and after a change of the source. The caches of the programs are warm. */
  readonly byHand: { readonly first: string; readonly again: string };
}

/** The sample tools, one of each language. */
export const languages: readonly Language[] = [
  {
    name: 'Python with pip',
    fixture: 'flask',
    lock: 'requirements.txt',
    source: 'app.py',
    comment: '#',
    program: 'python3',
    byHand: {
      first: 'rm -rf .venv && python3 -m venv .venv && .venv/bin/pip install -q -r requirements.txt',
      again: '.venv/bin/python -m compileall -q app.py',
    },
  },
  {
    name: 'Python with uv',
    fixture: 'uv-flask',
    lock: 'uv.lock',
    source: 'src/greeter/__init__.py',
    comment: '#',
    program: 'uv',
    byHand: {
      // In a fresh clone, pyproject.toml is new, so uv makes the package of the tool again.
      first: 'rm -rf .venv && touch pyproject.toml && uv sync -q --frozen --no-dev',
      again: 'uv sync -q --frozen --no-dev',
    },
  },
  {
    name: 'Node with npm',
    fixture: 'node-express',
    lock: 'package-lock.json',
    source: 'server.js',
    comment: '//',
    program: 'npm',
    byHand: { first: 'npm ci --silent', again: 'node --check server.js' },
  },
  {
    name: 'PHP with composer',
    fixture: 'php-composer',
    lock: 'composer.lock',
    source: 'public/index.php',
    comment: '//',
    program: 'composer',
    byHand: {
      first: 'rm -rf vendor && composer install --no-dev --quiet',
      again: 'composer install --no-dev --quiet',
    },
  },
  {
    name: 'Ruby with Bundler',
    fixture: 'ruby-vendored',
    lock: 'Gemfile.lock',
    source: 'app.rb',
    comment: '#',
    program: 'bundle',
    byHand: {
      first:
        'rm -rf .bundle && bundle config set --local path .bundle/gems && bundle config set --local without development && bundle install --quiet --local',
      again: 'bundle install --quiet --local',
    },
  },
  {
    name: 'Go',
    fixture: 'go-vendored',
    lock: 'go.mod',
    source: 'cmd/server/main.go',
    comment: '//',
    program: 'go',
    byHand: { first: 'rm -rf bin && mkdir bin && go build -o bin/ ./...', again: 'go build -o bin/ ./...' },
  },
  {
    name: 'Rust',
    fixture: 'rust-http',
    lock: 'Cargo.lock',
    source: 'src/main.rs',
    comment: '//',
    program: 'cargo',
    byHand: {
      first: 'rm -rf target && cargo build --release --quiet',
      again: 'cargo build --release --quiet',
    },
  },
  {
    name: 'Java with Maven',
    fixture: 'java-jar',
    lock: 'pom.xml',
    source: 'src/main/java/org/example/Clock.java',
    comment: '//',
    program: 'mvn',
    byHand: { first: 'mvn -q clean package -DskipTests', again: 'mvn -q package -DskipTests' },
  },
];

/**
 * Measures builds of sample tools, from the start of `git push` to the line that names the release. The peer is what a
 * person types in a clone. A build may take 1.3 times as long, and a second more for the push and the detection.
 */
export const languageBuilds: Figure = {
  name: 'languages',
  title: 'builds of each language, against the same steps by hand',
  async run({ isQuick, say }) {
    await using server = await startBuildServer();
    const rows: Row[] = [];
    for (const language of languages) {
      const why = await whyNot(language);
      if (why !== null) say(`${language.name} is not measured: ${why}`);
      else rows.push(...(await measure(server, language, isQuick ? 1 : 3)));
    }
    return rows;
  },
};

async function whyNot({ fixture, program }: Language): Promise<string | null> {
  if (!existsSync(join(fixtures, fixture))) return `test/fixtures/${fixture} is not there`;
  const { failed } = await execa('bash', ['-c', `command -v ${program}`], { reject: false });
  return failed ? `${program} is not on this machine` : null;
}

async function measure(server: TestServer, language: Language, rounds: number): Promise<Row[]> {
  const { name, fixture, lock, source, comment, byHand } = language;
  await server.addTool(fixture);
  const tree = await WorkTree.create(server, 'ssh', fixture);
  await cp(join(fixtures, fixture), tree.folder, { recursive: true });
  const hand = join(server.folder, `by-hand-${fixture}`);
  await mkdir(hand);
  await cp(join(fixtures, fixture), hand, { recursive: true });
  const text = await readFile(join(tree.folder, source), 'utf8');
  let change = 0;
  const changed = () => `${text}\n${comment} change ${++change}\n`;

  const build = async () => {
    await tree.commit('change', {});
    const startedAt = Date.now();
    let releasedAt = 0;
    await pushSeen(server, tree.folder, server.remote('ssh', fixture), ({ text, at }) => {
      if (text.includes('-----> Releasing v')) releasedAt = at;
    });
    return releasedAt - startedAt;
  };
  const byTyping = (command: string) =>
    milliseconds(() => execa('bash', ['-euo', 'pipefail', '-c', command], { cwd: hand, stdin: 'ignore' }));

  const first = await interleaved(
    rounds,
    async () => {
      await appendFile(join(tree.folder, lock), '\n');
      return await build();
    },
    () => byTyping(byHand.first),
  );
  const again = await interleaved(
    rounds,
    async () => {
      await writeFile(join(tree.folder, source), changed());
      return await build();
    },
    async () => {
      await writeFile(join(hand, source), changed());
      return await byTyping(byHand.again);
    },
  );
  return [
    row(`${name}, build: everything installed, warm caches`, first),
    row(`${name}, build: after a source change`, again),
  ];
}

function row(what: string, times: Samples): Row {
  const [ours, peer] = [median(times.ours) / 1000, median(times.peer) / 1000];
  const bound = 1.3 * peer + 1;
  return { what, ours: withUnit(ours, 's'), peer: withUnit(peer, 's'), measured: ours, unit: 's', bound };
}
