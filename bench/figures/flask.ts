import { existsSync } from 'node:fs';
import { cp, readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { TestServer } from '../../test/support/server.ts';
import { WorkTree } from '../../test/support/work-tree.ts';
import { type Figure, ownRow, type Row } from '../figure.ts';
import { PageWatch } from '../page-watch.ts';
import { startBuildServer } from '../servers.ts';
import { median } from '../statistics.ts';
import { push } from '../work.ts';

const fixtures = resolve(import.meta.dirname, '../../test/fixtures');

interface FlaskCase {
  readonly fixture: string;
  readonly what: string;
  /** The page that is asked for. */
  readonly path: string;
  /** Seconds from `git push` to the new page. */
  readonly bounds: { readonly first: number; readonly again: number };
}

const plain: FlaskCase = { fixture: 'flask', what: 'Flask', path: '/', bounds: { first: 4, again: 2 } };
const withApt: FlaskCase = {
  fixture: 'flask-apt',
  what: 'Flask with an Aptfile',
  // The front page of this tool draws and reads pictures, which takes a core one second.
  path: '/healthz',
  bounds: { first: 12, again: 3 },
};

/** Measures the time from `git push` to the page with the change, with the real back ends, at 50 requests a second. */
export const flask: Figure = {
  name: 'flask',
  title: 'Flask, push to new page',
  async run({ isQuick }) {
    await using server = await startBuildServer();
    return await measure(server, plain, isQuick ? 1 : 5);
  },
};

/** Measures the same as `flask` with a tool that needs Debian packages. There are no rows if its fixture is missing. */
export const flaskApt: Figure = {
  name: 'flask-apt',
  title: 'Flask with an Aptfile, push to new page',
  async run({ isQuick, say }) {
    if (!existsSync(join(fixtures, withApt.fixture))) {
      say(`test/fixtures/${withApt.fixture} is not there`);
      return [];
    }
    await using server = await startBuildServer();
    return await measure(server, withApt, isQuick ? 1 : 5);
  },
};

/**
 * The first push of a tool finds nothing cached, because a tool cannot use downloads of other tools. Later pushes with
 * other requirements install everything again, with warm caches.
 */
async function measure(server: TestServer, one: FlaskCase, rounds: number): Promise<Row[]> {
  const { fixture, what, path, bounds } = one;
  await server.addTool(fixture);
  const tree = await WorkTree.create(server, 'ssh', fixture);
  await cp(join(fixtures, fixture), tree.folder, { recursive: true });
  const app = await readFile(join(tree.folder, 'app.py'), 'utf8');
  const requirements = await readFile(join(tree.folder, 'requirements.txt'), 'utf8');
  await using page = new PageWatch(server, fixture, path);
  let changes = 0;
  const pushChange = async (more: Record<string, string>) => {
    changes += 1;
    const marker = `Change ${changes}`;
    await tree.commit(marker, {
      ...more,
      'app.py': `${app}\n\n@app.after_request\ndef mark(response):\n    response.set_data(response.get_data() + b"${marker}.")\n    return response\n`,
    });
    const seen = page.shows(`${marker}.`);
    const start = performance.now();
    await push(tree, server.remote('ssh', fixture));
    return ((await seen) - start) / 1000;
  };
  const first = await pushChange({});
  page.mayNotFail();
  const installed: number[] = [];
  const again: number[] = [];
  for (let round = 1; round <= rounds; round += 1) {
    installed.push(await pushChange({ 'requirements.txt': `${requirements}# ${round}\n` }));
    again.push(await pushChange({}));
  }
  return [
    ownRow(`${what}, push → new page: first push of the tool, nothing cached`, first, 's', null),
    ownRow(
      `${what}, push → new page: everything installed, warm caches`,
      median(installed),
      's',
      bounds.first,
    ),
    ownRow(`${what}, push → new page: after a source change`, median(again), 's', bounds.again),
    ownRow(
      `failed requests in these ${2 * rounds} redeployments, of ${page.asked}`,
      page.failures.length,
      'failed',
      0,
    ),
  ];
}
