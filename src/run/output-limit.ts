const MAX_TOLD_CHARACTERS = 10 * 1024 * 1024;

/**
 * Returns a function that passes a test or release command's lines to a push, up to 10 Mi characters, and then says
 * once that the push does not show the rest. Without this limit, the deployment log, which stores each line of a push,
 * could grow without end.
 */
export function limitedOutput(line: (text: string) => void): (text: string) => void {
  let left = MAX_TOLD_CHARACTERS;
  return (text) => {
    if (left <= 0) return;
    left -= text.length + 1;
    line(
      left > 0
        ? text
        : 'The command prints more than 10 MiB, so the rest is not shown here. The command `logs` shows it.',
    );
  };
}
