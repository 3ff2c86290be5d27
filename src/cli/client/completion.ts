import type { CommandShape } from '../command.ts';
import { UsageError } from '../command-line/usage-error.ts';
import { OWN_OPTIONS } from './own-options.ts';

const SHELLS = { bash: bashScript, zsh: zshScript, fish: fishScript } as const;

export const completionCommand: CommandShape = {
  name: 'completion',
  usage: 'bash|zsh|fish',
  summary: 'print a script with which a shell completes commands and flags',
  details: [
    'For bash, in ~/.bashrc: source <(toolforge-push completion bash)',
    'For zsh, in ~/.zshrc, after compinit: source <(toolforge-push completion zsh)',
    'For fish: toolforge-push completion fish > ~/.config/fish/completions/toolforge-push.fish',
    'The shell completes the program toolforge-push on your PATH, not npx toolforge-push. It does not complete names of tools.',
  ],
  examples: ['completion bash'],
  options: {},
  words: { min: 1, max: 1 },
};

/** The script for a shell. @throws UsageError if there is no script for this shell. */
export function completionScript(shell: string, commands: readonly CommandShape[]): string {
  if (!Object.hasOwn(SHELLS, shell))
    throw new UsageError('completion has a script only for bash, zsh and fish.');
  const listed = commands.filter(({ isAlias }) => isAlias !== true);
  return SHELLS[shell as keyof typeof SHELLS](listed.map(entryOf));
}

interface Entry {
  /** The words of the command's name: `config` and `set` for `config set`. */
  readonly names: readonly string[];
  readonly summary: string;
  /** The flags of the command, such as `--json` and `-n`. */
  readonly flags: readonly string[];
  readonly takesFile: boolean;
}

function entryOf({ name, summary, options, takesFile }: CommandShape): Entry {
  const flags = Object.entries(options).flatMap(([long, { short }]) => [
    `--${long}`,
    ...(short === undefined ? [] : [`-${short}`]),
  ]);
  return { names: name.split(' '), summary, flags: [...flags, '--help'], takesFile: takesFile === true };
}

const OWN_FLAGS = Object.keys(OWN_OPTIONS).map((name) => `--${name}`);

/**
 * The words that may follow `before`, each with its description. If two-word commands begin with a word, as with
 * `config`, the description of this word lists their second words.
 */
function wordsAfter(entries: readonly Entry[], before: readonly string[]): [string, string][] {
  const fitting = entries.filter(({ names }) => before.every((word, index) => names[index] === word));
  const byWord = Map.groupBy(fitting, ({ names }) => names[before.length] ?? '');
  return [...byWord].flatMap(([word, found]): [string, string][] => {
    const [only] = found;
    if (word === '' || only === undefined) return [];
    const isFamily = only.names.length > before.length + 1;
    return [[word, isFamily ? found.map(({ names }) => names.at(-1)).join(', ') : only.summary]];
  });
}

function families(entries: readonly Entry[]): string[] {
  return [
    ...new Set(entries.flatMap(({ names: [first, second] }) => (second === undefined ? [] : [first ?? '']))),
  ];
}

/** Quotes a text, so that it is one word for a POSIX shell and for zsh. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

/**
 * The body of the functions `__toolforge_push_names` for bash and zsh. They put into the array `names` those words
 * before the cursor that are neither flags nor the value of `--remote` or `--tool`.
 */
const NAMES = `  local one skip=
  for one in "$@"; do
    if [[ -n $skip ]]; then skip=; continue; fi
    case $one in
      --remote | --tool) skip=1 ;;
      '' | -*) ;;
      *) names+=("$one") ;;
    esac
  done
`;

function bashScript(entries: readonly Entry[]): string {
  const word = (words: readonly [string, string][]) => quoted(words.map(([name]) => name).join(' '));
  return `# Completion of toolforge-push for bash.
__toolforge_push_names() {
  names=()
${NAMES}}
_toolforge_push() {
  local name word=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD-1]} words= flags=${quoted(OWN_FLAGS.join(' '))}
  local -a names
  COMPREPLY=()
  __toolforge_push_names "\${COMP_WORDS[@]:1:COMP_CWORD-1}"
  if [[ $previous == --remote ]]; then
    # Not by compgen -W, which would run $(…) in the name of a remote.
    while IFS= read -r name; do
      if [[ $name == "$word"* ]]; then COMPREPLY+=("$name"); fi
    done < <(git remote 2>/dev/null)
    return
  fi
  case "\${#names[@]} \${names[*]:0:2}" in
    '0 ') words=${word(wordsAfter(entries, []))} ;;
${families(entries)
  .map((family) => `    ${quoted(`1 ${family}`)}) words=${word(wordsAfter(entries, [family]))} ;;\n`)
  .join('')}  esac
  case "\${names[*]:0:2} " in
${entries
  .map(({ names, flags, takesFile }) => {
    const files = takesFile ? ` mapfile -t COMPREPLY < <(compgen -f -- "$word");` : '';
    return `    ${quoted(`${names.join(' ')} `)}*)${files} flags+=${quoted(` ${flags.join(' ')}`)} ;;\n`;
  })
  .join('')}  esac
  if [[ $word == -* ]]; then words=$flags; fi
  if [[ -n $words ]]; then COMPREPLY=($(compgen -W "$words" -- "$word")); fi
}
complete -F _toolforge_push toolforge-push
`;
}

function zshScript(entries: readonly Entry[]): string {
  const described = (words: readonly [string, string][]) =>
    words.map(([word, text]) => quoted(`${word.replaceAll(':', '\\:')}:${text}`)).join(' ');
  return `# Completion of toolforge-push for zsh. Source it after compinit.
__toolforge_push_names() {
  names=()
${NAMES}}
_toolforge_push() {
  local -a names described flags
  flags=(${OWN_FLAGS.join(' ')})
  __toolforge_push_names "\${(@)words[2,CURRENT-1]}"
  if [[ $words[CURRENT-1] == --remote ]]; then
    compadd -- \${(f)"$(git remote 2>/dev/null)"}
    return
  fi
  case "\${#names} \${names[1,2]}" in
    '0 ') described=(${described(wordsAfter(entries, []))}) ;;
${families(entries)
  .map(
    (family) => `    ${quoted(`1 ${family}`)}) described=(${described(wordsAfter(entries, [family]))}) ;;\n`,
  )
  .join('')}  esac
  case "\${names[1,2]} " in
${entries
  .map(({ names, flags, takesFile }) => {
    const files = takesFile ? ' _files;' : '';
    return `    ${quoted(`${names.join(' ')} `)}*)${files} flags+=(${flags.join(' ')}) ;;\n`;
  })
  .join('')}  esac
  if [[ $words[CURRENT] == -* ]]; then
    compadd -- $flags
  elif (( $#described )); then
    _describe command described
  fi
}
compdef _toolforge_push toolforge-push
`;
}

function fishScript(entries: readonly Entry[]): string {
  // Escape only the two characters that fish unescapes between single quotes: \' and \\.
  const text = (words: string) => `'${words.replace(/['\\]/g, '\\$&')}'`;
  const complete = (condition: string, rest: string) =>
    `complete -c toolforge-push -n ${text(condition)} ${rest}\n`;
  const wordLines = [[], ...families(entries).map((family) => [family])].flatMap((before) =>
    wordsAfter(entries, before).map(([word, description]) =>
      complete(['__toolforge_push_at', ...before].join(' '), `-a ${word} -d ${text(description)}`),
    ),
  );
  const flagLines = entries.flatMap(({ names, flags, takesFile }) => {
    const condition = ['__toolforge_push_in', ...names].join(' ');
    const lines = flags.map((flag) =>
      complete(condition, flag.startsWith('--') ? `-l ${flag.slice(2)}` : `-s ${flag.slice(1)}`),
    );
    return takesFile ? [...lines, complete(condition, '-F')] : lines;
  });
  return `# Completion of toolforge-push for fish.
function __toolforge_push_names
    set -l skip 0
    set -l words (commandline -opc)
    for one in $words[2..-1]
        if test $skip = 1
            set skip 0
        else if contains -- $one --remote --tool
            set skip 1
        else if not string match -q -- '-*' $one
            echo $one
        end
    end
end
function __toolforge_push_at
    set -l names (__toolforge_push_names)
    test "$names" = "$argv"
end
function __toolforge_push_in
    set -l names (__toolforge_push_names)
    string match -q -- "$argv *" "$names "
end
complete -c toolforge-push -f
complete -c toolforge-push -l local
complete -c toolforge-push -l tool -x
complete -c toolforge-push -l remote -x -a '(git remote 2>/dev/null)'
${[...wordLines, ...flagLines].join('')}`;
}
