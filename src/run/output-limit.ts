const MAX_TOLD_CHARACTERS = 10 * 1024 * 1024;

/**
 * Passes on the first 10 MiB of lines to a push, and then says once that it stops. The log of a deployment keeps each
 * line, and nothing else limits the output of a release command.
 */
export function limitedOutput(line: (text: string) => void): (text: string) => void {
  let left = MAX_TOLD_CHARACTERS;
  return (text) => {
    if (left <= 0) return;
    left -= text.length + 1;
    line(
      left > 0 ? text : 'The command prints more than 10 MiB, and the rest is not shown here: `logs` has it.',
    );
  };
}
