/**
 * Returns the first error that a compiler or package manager of Rust, Go, Java or a related language printed, because
 * later errors often follow from it. The list has one or more wordings of this error: the best first, then mostly
 * shorter ones, in case the best is too long. Empty if no line has an error that this function knows.
 *
 * @param lines - The output of a failed step.
 */
export function compilerErrors(lines: readonly string[]): string[] {
  const said = lines.map((line) => line.trim());
  const found = [rust(said), go(said), maven(said), javac(said)].find((reasons) => reasons.length > 0);
  return (found ?? []).map((text) => text.replaceAll(/(file:\/\/)?\/workspace\//g, '').replace(/:$/, ''));
}

/**
 * Returns wordings of the first error that rustc or cargo printed with a place, a cause or a panic, the best wording first.
 * Empty if there is no such error.
 *
 * @see https://rustc-dev-guide.rust-lang.org/diagnostics.html
 */
function rust(lines: readonly string[]): string[] {
  for (const [index, line] of lines.entries()) {
    const [, text] = /^error(?:\[E\d+\])?: (.+)/.exec(line) ?? [];
    if (text === undefined || /^could not compile\b/.test(text)) continue;
    const [, place] = /^--> (\S+:\d+:\d+)$/.exec(lines[index + 1] ?? '') ?? [];
    if (place !== undefined) return [`${place}: ${text}`, text];
    const below = lines.slice(index + 1);
    const causes = below.flatMap((cause, at) => (cause === 'Caused by:' ? [below[at + 1] ?? ''] : []));
    // If cargo prints `Unable to update REPOSITORY`, this line is the best cause: the lines below it only name a folder
    // of cargo and a command of git.
    const repository = causes.find((cause) => cause.startsWith('Unable to update '));
    if (repository !== undefined) return [`${text}: ${repository}`, repository, text];
    const panic = below.findIndex((cause) => /^thread '[^']*' .*panicked at /.test(cause));
    if (panic >= 0) return [`${text}: ${below[panic + 1]}`, below[panic + 1] ?? '', text];
    if (causes.length > 0) return [`${text}: ${causes.slice(-2).join(': ')}`, causes.at(-2) ?? text, text];
  }
  return [];
}

function go(lines: readonly string[]): string[] {
  const index = lines.findIndex(
    (line) =>
      /^\S+\.go:\d+(:\d+)?: ./.test(line) ||
      /^go\.(mod|work|sum):\d+: ./.test(line) ||
      /^go: (?!downloading |finding |extracting |added |upgraded |errors parsing )/.test(line),
  );
  if (index < 0) return [];
  const text = (lines[index] ?? '').replace(/; to add it:$/, '').replace(/^\.\//, '');
  return text.endsWith(':') ? [`${text} ${lines[index + 1] ?? ''}`, text] : [text];
}

function maven(lines: readonly string[]): string[] {
  const errors = lines.flatMap((line) => /^\[(?:ERROR|FATAL)\]\s+([^[\s].*)/.exec(line)?.[1] ?? []);
  for (const error of errors) {
    // Matches the file and line of an error in each of the forms that the compilers of Java, Kotlin and Scala print.
    const [, file, row, column = '1', text = ''] =
      /^(?:file:\/\/)?(\S+\.(?:java|kt|scala|groovy)): ?[[(]?(\d+)(?:[,:] ?(\d+))?[\])]?:? (.+)/.exec(
        error,
      ) ?? [];
    if (file !== undefined) return [`${file}:${row}:${column}: ${withSymbol(text, lines)}`];
  }
  // Newer versions of Maven print the name of a missing artifact in a line of its own, so look for that line first.
  const first =
    errors.find((error) => /^Could not (find|transfer) artifact /.test(error)) ??
    errors.find((error) => !/^COMPILATION ERROR\b/.test(error));
  if (first === undefined) return [];
  const text = first
    .replace(/ -> \[Help \d+\]$/, '')
    .replace(/^Failed to execute goal .*? on project [^:]+: /, '');
  const artifact = /Could not (?:find|transfer) artifact .*/.exec(text)?.[0] ?? text;
  return [text, artifact, artifact.replace(/ \(position: .*/, ''), artifact.replace(/ in \S+ \(.*/, '')];
}

/** Returns the first error of javac or of Kotlin's compiler, as Gradle prints it. Empty if no line has an error. */
function javac(lines: readonly string[]): string[] {
  for (const line of lines) {
    const [, place, text = ''] =
      /^(\S+\.java:\d+): error: (.+)/.exec(line) ?? /^e: (\S+\.kts?:\d+:\d+):? (.+)/.exec(line) ?? [];
    if (place !== undefined) return [`${place}: ${withSymbol(text, lines)}`];
  }
  return [];
}

/** If javac cannot find a symbol, adds its name, which javac prints in a later line. Otherwise returns `text`. */
function withSymbol(text: string, lines: readonly string[]): string {
  if (text !== 'cannot find symbol') return text;
  const symbol = lines.map((line) => /^symbol:\s+(.+)/.exec(line)?.[1]).find((found) => found !== undefined);
  return symbol === undefined ? text : `${text}: ${symbol}`;
}
