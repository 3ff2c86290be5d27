const MAX_TOLD_CHARACTERS = 10 * 1024 * 1024;

/**
 * Passes on lines to a push until there are 10 MiB, and then says once that it stops. The log of a deployment is kept
 * and grows with each line, and what a release command prints has no other end.
 */
export function toldOutput(line: (text: string) => void): (text: string) => void {
  let left = MAX_TOLD_CHARACTERS;
  return (text) => {
    if (left <= 0) return;
    left -= text.length + 1;
    line(
      left > 0 ? text : 'The command prints more than 10 MiB, and the rest is not shown here: `logs` has it.',
    );
  };
}
