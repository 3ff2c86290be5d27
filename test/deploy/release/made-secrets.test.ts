import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { Artifact } from '../../../src/core/types.ts';
import { withSecrets } from '../../../src/deploy/release/config-vars.ts';
import { SecretsKey } from '../../../src/store/secrets.ts';
import { SqliteStore } from '../../../src/store/sqlite-store.ts';
import { artifactOf, deploymentOf, releaseOf, wikibot } from '../../support/store-records.ts';
import { Place } from '../place.ts';

const folder = mkdtempSync(join(tmpdir(), 'made-secrets-'));
const store = new SqliteStore(folder, new SecretsKey(randomBytes(32)));
after(() => {
  store.close();
  rmSync(folder, { recursive: true, force: true });
});
const asking: Artifact = { ...artifactOf('b2'), secrets: ['KEY'] };
let count = 0;

/** Makes a release, live or failed. @returns its config vars, and which of them were made for it. */
function release(
  artifact: Artifact,
  configVars: Readonly<Record<string, string>> = store.configVars(wikibot),
  isLive = true,
) {
  count += 1;
  const deployment = deploymentOf(`d${count}`);
  store.addDeployment(deployment);
  const { vars, made } = withSecrets(store, wikibot, configVars, artifact.secrets ?? []);
  const { version } = store.addRelease(releaseOf(deployment.id, { artifact, configVars: vars }));
  if (isLive) store.goLive(wikibot, version, deployment.id, count);
  else store.failRelease(wikibot, version);
  return { vars, made };
}

test('a secret that app.json asks for stays the same in later releases that ask for it, even after a failed release or a rollback, until somebody unsets it', () => {
  release(artifactOf('b1'), {});
  const failed = release(asking, undefined, false);
  assert.deepEqual(failed.made, ['KEY']);
  assert.deepEqual(store.configVars(wikibot), {});
  const first = release(asking);
  assert.deepEqual([first.vars, first.made], [failed.vars, []]);
  // A rollback to the release without the secret.
  release(artifactOf('b1'), {});
  assert.deepEqual(store.configVars(wikibot), {});
  assert.deepEqual(release(asking), first);

  assert.deepEqual(release(asking, {}).vars, {});
  const another = release(asking);
  assert.deepEqual(another.made, ['KEY']);
  assert.notEqual(another.vars['KEY'], first.vars['KEY']);
});

test('if a secret that app.json asks for is unset without a restart, the next release gets a new value for it', () => {
  const first = release(asking);
  const { KEY: _, ...others } = store.configVars(wikibot);
  store.setConfigVars(wikibot, others, 'alice');
  const next = release(asking);
  assert.deepEqual(next.made, ['KEY']);
  assert.notEqual(next.vars['KEY'], first.vars['KEY']);
});

test('a push to a live tool that adds a secret to app.json goes live', async () => {
  await using place = await Place.make();
  const { line } = await place.start();
  place.builder.may.resolve();
  const one = await place.park('p1');
  assert.equal((await (await line.submit(one)).verdict).isLive, true);
  const build = place.builder.resume.bind(place.builder);
  place.builder.resume = async (...asked) => ({ ...(await build(...asked)), secrets: ['KEY'] });
  const two = await place.park('p2', { oldCommit: one.commit });
  assert.equal((await (await line.submit(two)).verdict).isLive, true);
  assert.match(place.log('p2'), /KEY set to a random secret, as app\.json asks/);
});

test('threat 128: after 100 failed releases with large artifacts, a push whose app.json asks for 99 secrets holds the server up for less than a second', () => {
  const secrets = Array.from({ length: 99 }, (_, index) => `KEY_${index}`);
  const large: Artifact = {
    ...artifactOf('b9'),
    secrets: ['OTHER', ...secrets.slice(0, 1)],
    variables: { LARGE: '\u0001'.repeat(30_000) },
  };
  for (let index = 0; index < 100; index += 1) release(large, {}, false);
  const before = process.cpuUsage();
  const { made } = release({ ...large, secrets }, {}, false);
  const { user, system } = process.cpuUsage(before);
  assert.equal(made.length, 98);
  assert.ok(user + system < 1_000_000, `${(user + system) / 1000} ms`);
});
