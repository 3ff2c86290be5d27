import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { TestServer } from '../../support/server.ts';
import { type Files, WorkTree } from '../../support/work-tree.ts';

const PAGE = 'The old page';
let server: TestServer;
let tree: WorkTree;
let first = '';
before(async () => {
  server = await TestServer.start({ TOOLFORGE_PUSH_HEALTH_TIME: '20' });
  await server.addTool('wiki');
  tree = await WorkTree.create(server, 'http', 'wiki');
  first = await tree.commit('The old page', { 'index.html': PAGE });
  const pushed = await tree.push();
  assert.equal(pushed.exitCode, 0, pushed.stderr);
});
after(async () => server[Symbol.asyncDispose]());

/** Files of a commit that does not go live, and the last lines of its push: the cause, and what to do. */
const BROKEN: readonly { readonly what: string; readonly files: Files; readonly says: RegExp }[] = [
  {
    what: 'the marks of a merge conflict in requirements.txt',
    files: { 'requirements.txt': '<<<<<<< HEAD\nflask\n=======\nbottle\n>>>>>>> other\n' },
    says: /Build failed: the file requirements\.txt has the marks of a merge conflict in line 1\.\n.* Edit requirements\.txt: .*Commit and push again\./,
  },
  {
    what: 'a Procfile without a process',
    files: { Procfile: 'gunicorn app:app\n' },
    says: /Build failed: .*The Procfile has no line of the form `web: COMMAND`\. Add one\.\n/,
  },
  {
    what: 'a Procfile that runs a program that nothing installs',
    files: { Procfile: 'web: gunicorn app:app\n' },
    says: /Build failed: .*web runs gunicorn \(line 1 of the Procfile\), but no requirements install it\. Add gunicorn to requirements\.txt\.\n.* Correct this, commit/,
  },
  {
    what: 'a toolforge.yaml with a wrong schedule',
    files: {
      'toolforge.yaml':
        'components:\n  update:\n    run:\n      command: ./update.sh\n      schedule: daily\n',
    },
    says: /Build failed: the schedule daily of update in toolforge\.yaml cannot be used: .* \(line 5\)\.\n.* Write for instance "@daily"/,
  },
  {
    what: 'a jobs.yaml that is not YAML',
    files: { 'jobs.yaml': '- name: a\n  command: "b\n' },
    says: /Build failed: jobs\.yaml is not valid YAML \(line 3: .*\)\.\n.* Correct the file or remove it, and push again\./,
  },
  {
    what: 'a service.template that is a list',
    files: { 'service.template': '- type: python3.11\n' },
    says: /Build failed: service\.template must have lines of the form `key: value`, .*\n.* Write lines such as `type: python3\.11`/,
  },
  {
    what: 'an app.json with a word as the number of processes',
    files: { 'app.json': '{"formation": {"web": {"quantity": "two"}}}' },
    says: /Build failed: formation in app\.json gives no number of processes for web \(line 1\)\.\n.* Write `"web": \{"quantity": 1\}`/,
  },
  {
    what: 'a project.toml that names a missing buildpack',
    files: { 'project.toml': '[[io.buildpacks.group]]\nuri = "./mine"\n' },
    says: /The file project\.toml names the buildpack \.\/mine \(line 2\), but there is no folder mine.*\n.* Name the folder that holds buildpack\.toml/,
  },
  {
    what: 'an Aptfile that adds a repository of packages',
    files: { Aptfile: ':repo:deb http://example.org/ x main\n' },
    says: /Build failed: .*Line 1 of the Aptfile: other repositories are not supported, .*remove :repo:deb/,
  },
  {
    what: 'an .nvmrc that names no version of Node',
    files: { 'package.json': '{"scripts": {"start": "node a.js"}}', '.nvmrc': 'twenty\n' },
    says: /Build failed: .*\.nvmrc line 1: "twenty" is not a version of Node\. Write a number such as 24/,
  },
  {
    what: 'a static.json that names a missing folder',
    files: { 'static.json': '{"root": "site/"}' },
    says: /Build failed: .*static\.json asks for the folder site\/, which is not in the repository\. Correct root in static\.json\./,
  },
  {
    what: 'a Perl program with a syntax error',
    files: { Procfile: 'web: perl app.pl\n', 'app.pl': 'use strict;\nmy $port = $ENV{PORT}\nprint $port;\n' },
    says: /Rollout failed: web\.1 exited with code 255: syntax error at app\.pl line 3, near .*\n.* Fix the error and push again\./,
  },
  {
    what: 'a release command that fails',
    files: { Procfile: 'release: echo no database; exit 3\nweb: python3 -m http.server $PORT\n' },
    says: /Release failed: the release command exited with code 3\.\n.* Fix the error and push again\./,
  },
];

for (const { what, files, says } of BROKEN) {
  test(`a push with ${what} is rejected with the cause and what to do, and the old release stays live`, async () => {
    await tree.git('reset', '--quiet', '--hard', first);
    await tree.commit(what, files);
    const pushed = await tree.push();
    assert.notEqual(pushed.exitCode, 0, pushed.stderr);
    assert.deepEqual(await server.get('wiki'), { status: 200, body: PAGE });
    assert.match(pushed.stderr.replaceAll(/ +$/gm, ''), says);
    assert.match(pushed.stderr, /v1 is still live/);
  });
}
