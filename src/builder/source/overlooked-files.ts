import { listPlainFolder } from './safe-files.ts';

/**
 * For each language, the files by which builds recognise a tool in this language. A tool needs only one of them, at the
 * top of its source. The last two lists, Procfile and Aptfile, are for tools in any language.
 */
const MANIFESTS: readonly (readonly string[])[] = [
  ['requirements.txt', 'pyproject.toml', 'Pipfile', 'setup.py', 'poetry.lock', 'uv.lock'],
  ['package.json'],
  ['composer.json'],
  ['Gemfile'],
  ['go.mod', 'go.work'],
  ['Cargo.toml'],
  ['pom.xml', 'build.gradle', 'build.gradle.kts'],
  ['cpanfile'],
  ['Procfile'],
  ['Aptfile'],
];

/** Files that builds read and whose names people misspell. */
const READ = new Set([
  ...MANIFESTS.flat(),
  ...['.python-version', 'runtime.txt', '.nvmrc', '.node-version', 'package-lock.json', 'pnpm-lock.yaml'],
  ...['yarn.lock', 'Pipfile.lock', 'Gemfile.lock', 'Cargo.lock', 'composer.lock', 'go.sum', '.ruby-version'],
  ...[
    '.php-version',
    'system.properties',
    'rust-toolchain',
    'rust-toolchain.toml',
    'settings.gradle',
    'gradlew',
  ],
  ...['toolforge.yaml', 'jobs.yaml', 'service.template', 'project.toml', 'app.json', '.slugignore'],
  ...['index.html', 'index.php', 'manage.py', 'static.json', 'config.ru'],
]);

/** Other names of jobs.yaml that builds read. */
const JOBS = new Set(['jobs.yml', 'cronjobs.yaml', 'toolforge-jobs.yaml']);

/** Whether builds read a file of this name at the top of the source. */
export function isReadByBuilds(name: string): boolean {
  return READ.has(name) || JOBS.has(name) || /^requirements.*\.txt$/.test(name);
}

/**
 * Files that no build reads although they have the purpose of a file that builds read (`wanted`), and what to do with
 * them.
 */
const INSTEAD: readonly (readonly [file: RegExp, wanted: string, advice: string])[] = [
  [/^(apt|apt-packages|apt-requirements)\.txt$/i, 'Aptfile', 'rename it to Aptfile'],
  [
    /^requirements\.in$/i,
    'requirements.txt',
    'run `pip-compile requirements.in` and commit the file requirements.txt that it makes',
  ],
  [
    /^(pip[-_])?req[a-z]*([-_.](?!dev|test|doc|lint|ci)[a-z0-9_-]+)?\.txt$/i,
    'requirements.txt',
    'make a file requirements.txt with the line `-r FILE`',
  ],
  [/^crontab(\.txt)?$/i, 'toolforge.yaml', 'write its lines as scheduled components into a toolforge.yaml'],
];

/** Files by which other platforms build or start a tool. */
const OTHER_PLATFORMS = new RegExp(
  `^(${[
    'Dockerfile(\\..+)?|Containerfile|(docker-)?compose\\.ya?ml|\\.dockerignore|heroku\\.yml|fly\\.toml|render\\.yaml',
    'railway\\.(json|toml)|nixpacks\\.toml|vercel\\.json|netlify\\.toml|app\\.ya?ml|\\.buildpacks|\\.profile(\\.d)?',
    'Vagrantfile|dokku\\.json|CHECKS|DOKKU_SCALE|wercker\\.yml|captain-definition',
  ].join('|')})$`,
);

/**
 * If a folder has one of these files, it probably holds a tool, even without a manifest of a language. Warnings name
 * only the first of these files that a folder has.
 */
const ENTRIES = [
  'Procfile',
  'app.py',
  'main.py',
  'manage.py',
  'wsgi.py',
  'index.html',
  'index.php',
  'server.js',
  'index.js',
];
const PROGRAM = /\.(py|php|js|mjs|ts|pl|psgi|cgi|rb|ru|html?|go|rs)$/i;
/** Matches the names of folders for the files of a web site. */
const SITE = /^(public|public_html|htdocs|web|static|assets)$/i;

/** What each buildpack of a language looks for at the top of the source. */
const LOOKED_FOR: readonly (readonly [buildpack: string, text: string])[] = [
  ['python', 'Python: requirements.txt, pyproject.toml, Pipfile, setup.py, or a file that ends in .py'],
  ['node', 'Node: package.json with dependencies, a build script or a start script'],
  ['php', 'PHP: composer.json, or a file that ends in .php, also in public_html/, public/ or htdocs/'],
  ['perl', 'Perl: cpanfile, or a file that ends in .psgi, .pl or .cgi'],
  ['ruby', 'Ruby: Gemfile or config.ru'],
  ['go', 'Go: go.mod or go.work'],
  ['rust', 'Rust: Cargo.toml'],
  ['java', 'Java: pom.xml, or build.gradle with the Gradle wrapper'],
  ['static', 'Web site: index.html, also in public/, public_html/, www/, dist/, docs/ or build/'],
  ['procfile', 'Shell scripts: jobs.yaml or toolforge.yaml with their commands'],
  ['procfile', 'Any other program: Procfile with a line `web: COMMAND`'],
];

/**
 * A heading, and below it the lines of `LOOKED_FOR` for these buildpacks. Empty if `LOOKED_FOR` has no line for any of
 * them.
 */
export function lookedFor(buildpacks: ReadonlySet<string>): string[] {
  const lines = LOOKED_FOR.filter(([buildpack]) => buildpacks.has(buildpack)).map(([, text]) => `  ${text}`);
  return lines.length === 0 ? [] : ['Looked for, at the top of the repository:', ...lines];
}

/**
 * Folders that probably hold no tool, for example those of dependencies, tests, documents, results of builds, and
 * templates of pages.
 */
const NO_TOOL =
  /^([._].*|node_modules|vendor|venv|env|docs?|tests?|specs?|examples?|samples?|dist|build|target|www|scripts|tools|layouts|themes|templates)$/i;
const MAX_FOLDERS = 50;
const MAX_NAMED = 4;
/** At most this many names of files are looked at, because a hostile source may have 50,000 names at its top. */
const MAX_FILES = 1000;
const MAX_SENTENCES = 20;
/** Longer names are not checked for misspellings, because comparing names of hundreds of letters takes long. */
const MAX_NAME = 60;

/**
 * Sentences, without their full stops, about files that were probably meant for the build but that no buildpack reads.
 * These are files with a misspelt or similar name, manifests in a folder, and files of other platforms. Reads only
 * names.
 *
 * @param source - The folder of the source.
 * @param files - The names at the top of the source.
 */
export async function overlookedFiles(source: string, files: readonly string[]): Promise<string[]> {
  const some = files.slice(0, MAX_FILES);
  const others = some.filter((file) => OTHER_PLATFORMS.test(file) && file !== '.dockerignore');
  const there = new Set(files);
  const absent = [...READ].filter((name) => !there.has(name)).map((name) => ({ name, goal: letters(name) }));
  return [
    ...some.flatMap((file) => misspelt(file, absent) ?? insteadOf(file, there) ?? []).slice(0, MAX_SENTENCES),
    ...(await inFolders(source, files, there)),
    ...(others.length === 0
      ? []
      : [
          `${listed(others)} ${others.length === 1 ? 'is' : 'are'} not used, because buildpacks build the tool`,
        ]),
  ];
}

/**
 * A sentence about a file whose name is nearly one of the names in `absent`. Null for all other files. `absent` has the
 * names of files that builds read and that the source lacks.
 */
function misspelt(file: string, absent: readonly Wanted[]): string | null {
  if (READ.has(file) || JOBS.has(file) || file.length > MAX_NAME) return null;
  const [name, bare] = [letters(file), letters(file.replace(/\.(txt|ya?ml)$/i, ''))];
  const wanted = absent.find(
    (one) => one.goal === name || one.goal === bare || isNearly({ file, name }, one),
  );
  return wanted === undefined ? null : `${file} is not used: rename it to ${wanted.name} (exactly this name)`;
}

/** The name of a file that builds read, and its letters and digits. */
interface Wanted {
  readonly name: string;
  readonly goal: string;
}

/**
 * Whether the name `file` is one letter away from the name of a wanted file: one letter was added, left out or changed,
 * or two neighbours were swapped. False for short names. @param name - The letters and digits of `file`.
 */
function isNearly({ file, name }: { readonly file: string; readonly name: string }, wanted: Wanted): boolean {
  const { goal } = wanted;
  const isLong = goal.length >= 8 && file.startsWith('.') === wanted.name.startsWith('.');
  return isLong && name[0] === goal[0] && isOneEditApart(name, goal);
}

/**
 * Returns the letters and digits of a file name, in lower case. First writes the extension `yml` as `yaml`, and `text`
 * as `txt`.
 */
function letters(file: string): string {
  return file
    .toLowerCase()
    .replace(/\.yml$/, '.yaml')
    .replace(/\.text$/, '.txt')
    .replaceAll(/[^a-z0-9]/g, '');
}

/** Whether two names differ at most by one letter that was added, left out or changed, or by two swapped neighbours. */
export function isOneEditApart(one: string, other: string): boolean {
  let start = 0;
  while (start < one.length && one[start] === other[start]) start += 1;
  let end = 0;
  while (end < Math.min(one.length, other.length) - start && one.at(-1 - end) === other.at(-1 - end))
    end += 1;
  const [left, right] = [one.slice(start, one.length - end), other.slice(start, other.length - end)];
  if (left.length <= 1 && right.length <= 1) return true;
  return left.length === 2 && right.length === 2 && left[0] === right[1] && left[1] === right[0];
}

function insteadOf(file: string, there: ReadonlySet<string>): string | null {
  if (READ.has(file)) return null;
  const [, wanted, advice] = INSTEAD.find(([pattern]) => pattern.test(file)) ?? [];
  if (wanted === undefined || advice === undefined || there.has(wanted)) return null;
  return `${file} is not used: ${advice.replace('FILE', file)}`;
}

/**
 * Warnings about a manifest of a language in a folder at the top of the source, if the top itself has no manifest of
 * this language. If the top has no manifest at all and no program, the files in `ENTRIES` count as manifests too,
 * except in a folder for the files of a web site.
 */
async function inFolders(
  source: string,
  files: readonly string[],
  there: ReadonlySet<string>,
): Promise<string[]> {
  const missing = MANIFESTS.filter((names) => !names.some((name) => there.has(name)));
  const isTopEmpty = missing.length === MANIFESTS.length && !files.some((name) => PROGRAM.test(name));
  const sentences: string[] = [];
  for (const folder of files.filter((name) => !NO_TOOL.test(name)).slice(0, MAX_FOLDERS)) {
    const names = await namesInFolder(source, folder);
    const isPythonMissing = missing[0] === MANIFESTS[0];
    // Do not warn about src/requirements.txt: builds read this file, and look for the web process of a Python tool in
    // src.
    if (isPythonMissing && folder === 'src' && names.includes('requirements.txt')) continue;
    const path = isPythonMissing && folder === 'requirements' ? packagesFile(names) : null;
    if (path !== null)
      sentences.push(`${path} is not used: make a file requirements.txt with the line \`-r ${path}\``);
    const wanted = [...missing, ...(isTopEmpty && !SITE.test(folder) ? [ENTRIES] : [])];
    const found = new Set(wanted.flatMap((set) => set.filter((name) => names.includes(name)).slice(0, 1)));
    if (found.size === 0) continue;
    const paths = listed([...found].map((name) => `${folder}/${name}`));
    const advice = isTopEmpty
      ? `. Move the files of ${folder}/ there, or push this folder alone: git subtree push --prefix ${folder} toolforge main`
      : '';
    sentences.push(
      `${paths} ${found.size === 1 ? 'is' : 'are'} not used, because builds read only files at the top of the repository${advice}`,
    );
  }
  return sentences;
}

/**
 * The path of the file in the folder `requirements` that probably names the packages that the tool needs to run. Null
 * if no file does.
 */
function packagesFile(names: readonly string[]): string | null {
  const files = names
    .filter((name) => name.endsWith('.txt') && !/dev|test|doc|lint|local|ci\b/i.test(name))
    .sort();
  for (const pattern of [/prod|deploy|live|main/i, /base|common/i, /^/]) {
    const file = files.find((name) => pattern.test(name));
    if (file !== undefined) return `requirements/${file}`;
  }
  return null;
}

/**
 * The names of the regular files in a folder at the top of the source. Empty if the folder has more than 5,000 entries.
 */
async function namesInFolder(source: string, folder: string): Promise<string[]> {
  const entries = await listPlainFolder(source, [folder]).catch((error: unknown) => {
    if (error instanceof RangeError) return [];
    throw error;
  });
  return entries.filter(({ isFile }) => isFile).map(({ name }) => name);
}

function listed(names: readonly string[]): string {
  const more = names.length > MAX_NAMED ? ` and ${names.length - MAX_NAMED} more` : '';
  return names.slice(0, MAX_NAMED).join(', ') + more;
}
