import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ASource } from '../run-buildpack.ts';

const BUILDPACKS = ['node', 'npm', 'yarn', 'pnpm', 'static'];

type Files = Readonly<Record<string, string | Buffer>>;

/** What the detections print, without empty lines. */
async function detected(files: Files): Promise<string[]> {
  await using source = await ASource.of(files);
  const said: string[] = [];
  for (const buildpack of BUILDPACKS) {
    const { code, output } = await source.run(buildpack, 'detect');
    assert.ok(code === 0 || code === 100, `${buildpack} exits ${code}: ${output}`);
    const lines = output.split('\n').filter((line) => line !== '');
    assert.ok(code === 0 || lines.every((line) => line.startsWith('note: ')), output);
    said.push(...lines);
  }
  return said;
}

const json = (content: object) => JSON.stringify(content, null, 2);
const LINTERS = { devDependencies: { eslint: '9' }, scripts: { lint: 'eslint .', test: 'jest' } };
const SERVER = { dependencies: { express: '5' }, scripts: { start: 'node server.js' } };
const VITE = { scripts: { dev: 'vite', build: 'vite build' }, devDependencies: { vite: '7' } };
const ASIDE =
  'note: package.json is not used: it has no start script, no build script and no dependencies but development tools';

const ROWS: readonly [what: string, files: Files, said: readonly string[]][] = [
  ['a start script', { 'package.json': json(SERVER) }, ['node 24', 'npm']],
  [
    'a gadget of a wiki as the main file',
    { 'package.json': json({ ...LINTERS, main: 'gadget.js' }), 'gadget.js': 'mw.hook("x");\n' },
    [ASIDE],
  ],
  [
    'a package.json in www/js, and linters at the top',
    {
      'package.json': json({ ...LINTERS, main: 'gadget.js' }),
      'gadget.js': 'mw.hook("x");\n',
      'www/js/package.json': json(SERVER),
    },
    ['note: package.json is not used, because www/js/package.json has the start script', 'node 24', 'npm'],
  ],
  ['dependencies alone', { 'package.json': json({ dependencies: { a: '1' } }) }, ['node 24', 'npm']],
  [
    'engines in package.json',
    { 'package.json': json({ ...SERVER, engines: { node: '>=18 <21' } }) },
    ['node >=18 <21 (package.json)', 'npm'],
  ],
  ['.nvmrc', { 'package.json': json(SERVER), '.nvmrc': 'v22\n' }, ['node 22 (.nvmrc)', 'npm']],
  [
    '.nvmrc with a comment and a name',
    { 'package.json': json(SERVER), '.nvmrc': '# of the wiki\nlts/iron\n' },
    ['node 20 (.nvmrc)', 'npm'],
  ],
  [
    '.nvmrc that PowerShell wrote',
    { 'package.json': json(SERVER), '.nvmrc': Buffer.from('\uFEFFv20.11.1\r\n', 'utf16le') },
    ['node 20.11.1 (.nvmrc)', 'npm'],
  ],
  [
    'an empty .nvmrc',
    { 'package.json': json(SERVER), '.nvmrc': '\n' },
    ['node 24', 'note: .nvmrc is empty, so it chooses no version of Node', 'npm'],
  ],
  [
    'a malformed .nvmrc beside engines',
    { 'package.json': json({ ...SERVER, engines: { node: '22' } }), '.nvmrc': 'twenty\n' },
    [
      'node 22 (package.json)',
      'note: .nvmrc line 1 is not used: "twenty" is not a version of Node, and package.json line 9 names one',
      'npm',
    ],
  ],
  [
    'Volta',
    { 'package.json': json({ ...SERVER, volta: { node: '22.3.0' } }) },
    ['node 22.3.0 (package.json)', 'npm'],
  ],
  [
    '.tool-versions',
    { 'package.json': json(SERVER), '.tool-versions': 'python 3.12\nnodejs 22.3.0\n' },
    ['node 22.3.0 (.tool-versions)', 'npm'],
  ],
  [
    'service.template with a byte order mark',
    { 'package.json': json(LINTERS), 'service.template': '\uFEFFtype: node20\r\n' },
    ['node 20 (service.template)', 'npm'],
  ],
  ['linters only', { 'package.json': json(LINTERS) }, [ASIDE]],
  [
    'linters in dependencies',
    { 'package.json': json({ dependencies: { eslint: '9', 'stylelint-config-wikimedia': '1' } }) },
    [ASIDE],
  ],
  [
    'linters in a Python tool',
    { 'package.json': json(LINTERS), 'requirements.txt': 'flask\n' },
    [`${ASIDE}, and the tool is written in Python`],
  ],
  [
    'a development server in a PHP tool',
    { 'package.json': json({ ...LINTERS, scripts: { start: 'grunt watch' } }), 'public/index.php': '' },
    [`${ASIDE}, and the tool is written in PHP`],
  ],
  [
    'assets for a Django tool',
    { 'package.json': json(VITE), 'manage.py': '', 'requirements.txt': 'django\n' },
    ['node 24', 'npm'],
  ],
  [
    'linters only, but the Procfile starts Node',
    { 'package.json': json(LINTERS), Procfile: 'web: FORCE=1 node x.js\n' },
    ['node 24', 'npm'],
  ],
  ['a Procfile that runs Node', { 'x.mjs': '', Procfile: 'web: node x.mjs\n' }, ['node 24']],
  ['a Procfile that runs a file with node in its name', { Procfile: 'web: ./node-like.sh\n' }, []],
  ['a job that runs Node', { 'x.js': '', 'jobs.yaml': '- name: a\n  command: node x.js\n' }, ['node 24']],
  [
    'a web site with a job that runs Node',
    { 'index.html': '', 'update.js': '', 'jobs.yaml': '- name: a\n  command: node update.js\n' },
    ['node 24', 'static site (index.html)'],
  ],
  [
    'a web site with a component of toolforge.yaml that runs Node',
    {
      'index.html': '',
      'toolforge.yaml': 'components: {a: {run: {command: node a.js, schedule: "@daily"}}}\n',
    },
    ['node 24', 'static site (index.html)'],
  ],
  [
    'a page of a server that toolforge.yaml starts with Node',
    {
      'index.html': '',
      'toolforge.yaml': 'components:\n  a:\n    run:\n      command: node a.js\n      port: 8000\n',
    },
    ['node 24'],
  ],
  [
    'a development server of another platform beside a page',
    {
      'public_html/index.html': '',
      'package.json': json({ ...LINTERS, scripts: { start: 'wrangler dev --test' } }),
    },
    [ASIDE, 'static site (public_html/index.html)'],
  ],
  [
    'package.json and service.template in www/js, the folder of webservice',
    { 'www/js/package.json': json(SERVER), 'www/js/service.template': 'type: node18\n' },
    ['node 18 (service.template)', 'npm'],
  ],
  [
    'a package.json in another folder',
    { 'frontend/package.json': json(VITE), 'app.py': '' },
    [
      'note: frontend/package.json is not used, because only a package.json at the top is used. Add one there: {"scripts": {"build": "npm --prefix frontend install && npm --prefix frontend run build"}}',
    ],
  ],
  [
    'a package.json in each of two folders',
    { 'frontend/package.json': json(VITE), 'backend/package.json': json(SERVER) },
    [
      'note: frontend/package.json, backend/package.json are not used, because only a package.json at the top is used. Add one there: {"scripts": {"build": "npm --prefix frontend install && npm --prefix frontend run build && npm --prefix backend install", "start": "npm --prefix backend start"}}',
    ],
  ],
  [
    'a server without a package.json',
    { 'server.js': 'require("http").createServer(f).listen(process.env.PORT)' },
    [
      'note: server.js is not used, because there is no package.json. Add a Procfile with the line `web: node server.js`',
    ],
  ],
  ['a script of a browser without a page', { 'app.js': 'document.title = 1' }, []],
  ['a main file', { 'package.json': json({ main: 'bot.js' }), 'bot.js': '' }, ['node 24', 'npm']],
  ['a main file that is missing', { 'package.json': json({ main: 'bot.js' }) }, [ASIDE]],
  [
    'a main file outside of the repository (threat 66)',
    { 'package.json': json({ main: '../../etc/passwd' }) },
    [ASIDE],
  ],
  ['package.json that is no JSON', { 'package.json': '{"a": 1,}' }, ['node 24']],
  [
    'package.json that is no JSON in a Python tool',
    { 'package.json': '{"a": 1,}', 'app.py': '' },
    [
      'note: package.json is not used, because the tool is written in Python: line 1 is not valid JSON: a comma too many',
    ],
  ],
  ['yarn.lock', { 'package.json': json(SERVER), 'yarn.lock': '' }, ['node 24', 'yarn']],
  ['pnpm-lock.yaml', { 'package.json': json(SERVER), 'pnpm-lock.yaml': '' }, ['node 24', 'pnpm']],
  [
    'packageManager with a hash',
    { 'package.json': json({ ...SERVER, packageManager: 'pnpm@9.1.0+sha512.67f5879' }) },
    ['node 24', 'pnpm 9.1.0 (packageManager in package.json)'],
  ],
  [
    'devEngines in package.json',
    { 'package.json': json({ ...SERVER, devEngines: { packageManager: { name: 'yarn', version: '^4' } } }) },
    ['node 24', 'yarn ^4 (devEngines in package.json)'],
  ],
  [
    'two lock files',
    { 'package.json': json(SERVER), 'yarn.lock': '', 'package-lock.json': '{}' },
    [
      'node 24',
      'yarn',
      'note: package-lock.json is not used, because yarn installs the packages. Delete package-lock.json',
    ],
  ],
  [
    'two lock files and packageManager',
    {
      'package.json': json({ ...SERVER, packageManager: 'npm@10.9.4' }),
      'yarn.lock': '',
      'package-lock.json': '',
    },
    [
      'node 24',
      'npm 10.9.4 (packageManager in package.json)',
      'note: yarn.lock is not used, because npm installs the packages (packageManager in package.json). Delete yarn.lock',
    ],
  ],
  [
    'a lock file of bun',
    { 'package.json': json(SERVER), 'bun.lock': '' },
    [
      'node 24',
      'npm',
      'note: bun.lock is not used, because bun is not available here. npm installs the packages of package.json',
    ],
  ],
  ['index.html at the top', { 'index.html': '', 'app.js': '' }, ['static site (index.html)']],
  ['index.html in public', { 'public/index.html': '' }, ['static site (public/index.html)']],
  ['index.html in public_html', { 'public_html/index.html': '' }, ['static site (public_html/index.html)']],
  ['index.html in dist', { 'dist/index.html': '' }, ['static site (dist/index.html)']],
  ['index.html in docs', { 'docs/index.html': '' }, ['static site (docs/index.html)']],
  ['index.html in build', { 'build/index.html': '' }, ['static site (build/index.html)']],
  ['another page than index.html', { 'page.html': '' }, []],
  [
    'index.html beside linters',
    { 'index.html': '', 'index.js': 'alert(1)', 'package.json': json({ ...LINTERS, main: 'index.js' }) },
    [ASIDE, 'static site (index.html)'],
  ],
  [
    'index.html beside a server',
    { 'index.html': '', 'index.js': 'http.createServer(x).listen(8000)', 'package.json': json({}) },
    ['node 24', 'npm'],
  ],
  [
    'index.html in public_html beside a bot',
    { 'public_html/index.html': '', 'requirements.txt': '', 'package.json': json(VITE) },
    ['node 24', 'npm', 'static site (public_html/index.html)'],
  ],
  [
    'a site with a build script beside a bot',
    { 'index.html': '', 'requirements.txt': '', 'update.py': '', 'package.json': json(VITE) },
    ['node 24', 'npm', 'static site (script build of package.json)'],
  ],
  [
    'a build script of a web application in Python',
    { 'index.html': '', 'app.py': '', 'package.json': json(VITE) },
    ['node 24', 'npm'],
  ],
  ['index.html in public_html beside PHP', { 'public_html/index.html': '', 'public_html/api.php': '' }, []],
  ['index.html in www', { 'www/index.html': '' }, ['static site (www/index.html)']],
  [
    'Next.js that exports files',
    {
      'package.json': json({ ...VITE, scripts: { start: 'next start', build: 'next build' } }),
      'next.config.ts': "// output: 'standalone'\nexport default { output: 'export' };\n",
    },
    ['node 24', 'npm', 'static site (script build of package.json)'],
  ],
  [
    'Next.js whose export is a comment',
    {
      'package.json': json({ ...VITE, scripts: { start: 'next start', build: 'next build' } }),
      'next.config.js': "module.exports = {\n  // output: 'export',\n};\n",
    },
    ['node 24', 'npm'],
  ],
  [
    'React Router without a server',
    {
      'package.json': json({
        ...VITE,
        scripts: { start: 'react-router-serve ./build/server/index.js', build: 'react-router build' },
      }),
      'react-router.config.ts': 'export default {\n  ssr: false,\n};\n',
    },
    ['node 24', 'npm', 'static site (script build of package.json)'],
  ],
  [
    'documents of VitePress',
    { 'package.json': json({ ...LINTERS, scripts: { 'docs:build': 'vitepress build docs' } }) },
    ['node 24', 'npm', 'static site (script docs:build of package.json)'],
  ],
  [
    'documents of VitePress beside a Python tool',
    {
      'requirements.txt': '',
      'package.json': json({ ...LINTERS, scripts: { 'docs:build': 'vitepress build docs' } }),
    },
    [`${ASIDE}, and the tool is written in Python`],
  ],
  ['index.html beside a PHP tool', { 'index.html': '', 'index.php': '' }, []],
  ['index.html beside a web process', { 'index.html': '', Procfile: 'web: ./serve\n' }, []],
  [
    'a build script without a server',
    { 'package.json': json(VITE), 'index.html': '' },
    ['node 24', 'npm', 'static site (script build of package.json)'],
  ],
  ...['astro dev', 'docusaurus start', 'npx @11ty/eleventy --serve', 'npm run develop'].map(
    (start): (typeof ROWS)[number] => [
      `a generator of sites that starts ${start}`,
      {
        'package.json': json({
          scripts: { start, develop: 'gatsby develop', build: 'x' },
          dependencies: { x: '1' },
        }),
      },
      ['node 24', 'npm', 'static site (script build of package.json)'],
    ],
  ),
  [
    'a build script with a development server',
    {
      'public/index.html': '',
      'package.json': json({
        ...VITE,
        scripts: { start: 'react-scripts start', build: 'react-scripts build' },
      }),
    },
    ['node 24', 'npm', 'static site (script build of package.json)'],
  ],
  [
    'a build script with a server',
    { 'package.json': json({ ...VITE, scripts: { start: 'next start', build: 'next build' } }) },
    ['node 24', 'npm'],
  ],
  [
    'a build script for a program that the Procfile starts',
    { 'package.json': json({ ...VITE, scripts: { build: 'tsc' } }), Procfile: 'bot: node dist/bot.js\n' },
    ['node 24', 'npm'],
  ],
];

for (const [what, files, said] of ROWS) {
  test(`the detections of Node and static sites say what they found: ${what}`, async () => {
    assert.deepEqual(await detected(files), said);
  });
}
