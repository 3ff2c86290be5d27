import { addAbortListener } from 'node:events';
import { inPieces, outputTime } from '../../core/fair-share/time-shares.ts';
import type { Mask } from '../../core/masking/masking.ts';
import type { Exit, Sandbox, SandboxCommand } from '../../sandbox/sandbox.ts';
import type { BuildLimits } from '../build-limits.ts';
import { LastLines } from '../failure-reason.ts';
import { OutputLines } from '../output-lines.ts';

export interface StepEnd extends Exit {
  /** The last lines of the output, with secrets masked. */
  readonly lastLines: readonly string[];
}

/**
 * Runs one program of a build in the sandbox until it ends, and passes on its output line by line. When the program
 * ends, all processes that it started end too.
 *
 * @throws the reason of `guard.signal` if that signal fires. All processes of the program have ended by then.
 */
export async function runStep(
  sandbox: Sandbox,
  command: SandboxCommand,
  options: {
    readonly guard: BuildLimits;
    readonly mask: Mask;
    readonly line: (text: string) => void;
  },
): Promise<StepEnd> {
  const { guard } = options;
  guard.signal.throwIfAborted();
  const process = sandbox.start({ ...command, endsFirst: true });
  const kill = () => process.kill();
  using _killing = addAbortListener(guard.signal, kill);
  // Ends processes that the program left behind, because they would keep the output open.
  const exited = process.exited.finally(kill);
  // The server divides its time for output among tools. The builds and processes of one tool share that tool's time.
  const share = String(command.toolNumber);
  const lastLines = new LastLines();
  const lines = new OutputLines({
    mask: options.mask.steps,
    line: (text) => {
      if (guard.signal.aborted) return;
      lastLines.add(text);
      options.line(text);
    },
  });
  try {
    for await (const chunk of process.output) {
      guard.hear(chunk.length);
      for (const piece of inPieces(chunk)) await outputTime.runSteps(share, lines.write(piece));
    }
    await outputTime.runSteps(share, lines.end());
    const exit = await exited;
    guard.signal.throwIfAborted();
    return { ...exit, lastLines: lastLines.all };
  } finally {
    kill();
    await exited;
  }
}
