import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ToolName } from '../../src/core/names.ts';
import { releaseOf, rollOut, until } from '../run/contract-steps.ts';
import { web, webTool, worker } from '../run/tool-sources.ts';
import type { RuntimeBench } from './runtime.ts';

/** The promises of every Runtime about the maintenance mode. */
export function maintenanceContract(benchNow: () => RuntimeBench): void {
  const shown = async (tool: ToolName) => {
    const { status, body } = await benchNow().request(tool, '/any/page');
    return `${status} ${/is in maintenance/.test(body) ? 'plain page' : body}`;
  };

  test('in maintenance, visitors get 503 and a page, the processes go on, and a release that goes live brings its own page', async () => {
    const { runtime, artifact } = benchNow();
    const tool = 'mended' as ToolName;
    const files = { 'web.py': webTool('one') };
    const one = releaseOf(tool, 1, await artifact(files, [web()]));
    await rollOut(runtime, one);
    const names = async () => (await runtime.status(tool)).map(({ name, state }) => `${name} ${state}`);
    const before = await names();
    assert.equal(await runtime.beginMaintenance(one, 1), false);
    assert.equal(await shown(tool), '503 plain page');
    assert.deepEqual(await names(), before);
    const own = {
      ...files,
      'web.py': webTool('two'),
      'maintenance.html': '<h1>Zurück um zwölf: $(HOME) $$</h1>',
    };
    const two = releaseOf(tool, 2, await artifact(own, [web()]));
    const seen = await rollOut(runtime, two);
    assert.match(seen, /web\.\d started/);
    await until(async () => (await shown(tool)) === `503 ${own['maintenance.html']}`, 'the page of v2', 60);
    assert.equal(await runtime.beginMaintenance(two, 1), true);
    await runtime.endMaintenance(tool);
    assert.equal(await shown(tool), '200 two');
    await runtime.endMaintenance(tool);
    assert.equal(await shown(tool), '200 two');
  });

  test('the maintenance mode is refused if the release’s page is too large; if such a release goes live later, visitors get a plain page', async () => {
    const { runtime, artifact } = benchNow();
    const tool = 'verbose' as ToolName;
    const large = { 'web.py': webTool('large'), 'maintenance.html': 'x'.repeat(256 * 1024 + 1) };
    const one = releaseOf(tool, 1, await artifact(large, [web()]));
    await rollOut(runtime, one);
    await assert.rejects(runtime.beginMaintenance(one, 1), {
      code: 'PAGE_TOO_LARGE',
      message: 'the page maintenance.html in v1 of verbose is larger than 256 KiB',
    });
    assert.equal(await shown(tool), '200 large');
    const small = releaseOf(tool, 2, await artifact({ ...large, 'maintenance.html': 'brief' }, [web()]));
    await rollOut(runtime, small);
    assert.equal(await runtime.beginMaintenance(small, 1), true);
    assert.equal(await shown(tool), '503 brief');
    await rollOut(runtime, { ...one, version: 3 });
    await until(async () => (await shown(tool)) === '503 plain page', 'a plain page', 60);
    await runtime.endMaintenance(tool);
    assert.equal(await shown(tool), '200 large');
  });

  test('a tool without a web process, and a stopped tool, can be in maintenance, and the removal of the tool ends the maintenance', async () => {
    const { runtime, artifact } = benchNow();
    const tool = 'resting' as ToolName;
    const files = { 'web.py': webTool('rested'), 'worker.py': 'import time\ntime.sleep(1000)' };
    const working = releaseOf(tool, 1, await artifact({ ...files, 'maintenance.html': 'away' }, [worker()]));
    await rollOut(runtime, working);
    assert.equal(await runtime.beginMaintenance(working, 1), true);
    assert.equal(await shown(tool), '503 away');
    const both = releaseOf(tool, 2, await artifact(files, [web(), worker()]));
    await rollOut(runtime, both);
    await until(async () => (await shown(tool)) === '503 plain page', 'a plain page', 60);
    await runtime.stop(tool);
    assert.equal(await shown(tool), '503 plain page');
    await runtime.endMaintenance(tool);
    assert.doesNotMatch(await shown(tool), /plain page|rested/);
    await runtime.beginMaintenance(both, 1);
    assert.equal(await shown(tool), '503 plain page');
    await runtime.remove(tool);
    await until(async () => (await shown(tool)).startsWith('404'), 'the tool is gone');
    await rollOut(runtime, both);
    assert.equal(await shown(tool), '200 rested');
    await runtime.stop(tool);
  });
}
