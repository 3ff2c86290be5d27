import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { isRoot } from '../../sandbox/sandbox-bench.ts';
import { TestServer } from '../../support/server.ts';
import { DatabaseHost } from './database-host.ts';
import { WalkedPage } from './walked-page.ts';

/** The user of ToolsDB that docs/databases.md and docs/migrating.md show. Toolforge makes such a user for each tool. */
const TOOLSDB_USER =
  "CREATE USER s51234 IDENTIFIED BY 'fourth-secret'; GRANT ALL ON `s51234\\_\\_%`.* TO s51234;";

/** Prints what Heroku's own program prints for `heroku config --shell`. */
const HEROKU = `#!/bin/sh
[ "$*" = "config --shell --app shop" ] || exit 1
cat <<'VARS'
DATABASE_URL='postgres://u1:p1@ec2-1-2-3-4.compute-1.amazonaws.com:5432/d1'
SHOP_NAME='Books & Maps'
VARS
`;

describe('the pages of docs for a first tool, for databases and for tools from elsewhere', {
  skip: !isRoot,
  concurrency: 2,
}, () => {
  const cleanup = new AsyncDisposableStack();
  let replicas = '';
  let server: TestServer;
  let databases: DatabaseHost;

  before(async () => {
    replicas = await mkdtemp(join(tmpdir(), 'toolforge-push-replicas-'));
    cleanup.defer(() => rm(replicas, { recursive: true }));
    const startServer = async () => {
      server = cleanup.use(await TestServer.start({ TOOLFORGE_PUSH_REPLICA_FOLDER: replicas }));
    };
    const startDatabases = async () => {
      databases = cleanup.use(await DatabaseHost.start());
      await databases.mariadb(TOOLSDB_USER);
    };
    await Promise.all([startServer(), startDatabases()]);
    for (const tool of ['quotes', 'links', 'views', 'words', 'report', 'shop']) await server.addTool(tool);
  });
  after(async () => cleanup.disposeAsync());

  const giveReplicaFile = async (tool: string) => {
    const file = join(replicas, tool, 'replica.my.cnf');
    await mkdir(dirname(file));
    await writeFile(file, '[client]\nuser = s51234\npassword = fourth-secret\n', { mode: 0o600 });
  };

  test('docs/tutorial.md leads to a tool that shows quotes from PostgreSQL, with a nightly job and a preview', async () => {
    await databases.postgres(`
      CREATE ROLE quotes LOGIN PASSWORD 'let-me-in';
      CREATE DATABASE quotes OWNER quotes;
      CREATE ROLE preview LOGIN PASSWORD 'only-a-try';
      CREATE DATABASE preview OWNER preview;
    `);
    const page = await WalkedPage.open(server, 'tutorial.md', { 'postgres.example.org': databases.address });
    await page.walk();
  });

  test('docs/databases.md leads to a tool that uses PostgreSQL, MariaDB, ToolsDB and Redis', async () => {
    const page = await WalkedPage.open(server, 'databases.md', {
      'postgres.example.org': databases.address,
      'mariadb.example.org': databases.address,
      'redis.example.org': databases.address,
      'tools.db.svc.wikimedia.cloud': databases.address,
      '/srv/replicas': replicas,
    });
    await page.walk({
      pgsql: (text) => databases.postgres(text),
      sql: (text) => databases.mariadb(text),
      redis: (text) => databases.redis(text),
    });
  });

  test('docs/migrating.md brings over a webservice on NFS, a build-service tool, a grid-engine job and a Heroku application', async () => {
    await giveReplicaFile('views');
    const page = await WalkedPage.open(server, 'migrating.md');
    await page.provide('heroku', HEROKU);
    await page.walk();
  });
});
