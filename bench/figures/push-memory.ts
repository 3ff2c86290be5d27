import { type Figure, ownRow } from '../figure.ts';
import { settledMemory } from '../process-memory.ts';
import { startNullServer } from '../servers.ts';
import { slope } from '../statistics.ts';
import { push, smallTree } from '../work.ts';

/** Several tools, because one tool may have only 200 builds a day. */
const TOOLS = 5;
/** The memory is measured after so many pushes, again and again. */
const STEP = 10;

/** Measures the memory that each push adds for good (threat 88), over SSH and HTTP in turn. It is for information. */
export const pushMemory: Figure = {
  name: 'push-memory',
  title: 'memory over many pushes',
  async run({ isQuick, say }) {
    const pushes = isQuick ? 40 : 300;
    await using server = await startNullServer();
    for (let tool = 0; tool < TOOLS; tool += 1) await server.addTool(`tool-${tool}`);
    const tree = await smallTree(server);
    const points: { x: number; y: number }[] = [];
    for (let number = 1; number <= pushes; number += 1) {
      await tree.commit(`change ${number}`, { 'app.py': `print("${number}")\n` });
      await push(tree, server.remote(number % 2 === 0 ? 'ssh' : 'http', `tool-${number % TOOLS}`));
      if (number % STEP === 0) points.push({ x: number, y: await settledMemory(server.pid) });
    }
    // During the first third, V8 still enlarges its heap.
    const third = Math.floor(points.length / 3);
    const settled = points.slice(third);
    const at = (index: number) => `${points.at(index)?.y.toFixed(0)} MiB`;
    say(`${at(0)} after ${STEP} pushes, ${at(third)} after a third, ${at(-1)} after all`);
    const what = `memory that each of ${pushes} pushes adds, after the first third`;
    return [ownRow(what, slope(settled) * 1024, 'kB', null)];
  },
};
