import parseWords from 'string-argv';
import { DeployError } from '../../core/errors.ts';
import { type ToolName, toolName } from '../../core/names.ts';

/** A parsed exec request. */
export type ExecRequest =
  | { readonly kind: 'git'; readonly service: 'receive-pack' | 'upload-pack'; readonly tool: ToolName }
  | { readonly kind: 'command'; readonly argv: readonly string[] };

const GIT = /^git[- ](receive-pack|upload-pack|upload-archive)(?:[ \t]+(.*))?$/s;
// Matches one argument without escapes. Git clients put it in single quotes (sq_quote_buf in git). A person may also
// type it in double quotes or without quotes.
const ONE_ARGUMENT = /^(?:'([^'\\]*)'|"([^"\\$`]*)"|([^\s'"\\$`;&|<>()]+))$/;

/** True if this is a command that a git client sends. */
export function isGitCommand(command: string): boolean {
  return GIT.test(command.trim());
}

/**
 * Parses the command of an SSH exec request without a shell. A git command has one argument, the repository. All other
 * text is split into words for the command table.
 *
 * @throws DeployError `BAD_REPOSITORY` if the repository is not that of a tool; `NO_ARCHIVES` for `git archive`. Both
 * say what to type instead.
 */
export function parseExec(command: string): ExecRequest {
  const text = command.trim();
  const git = GIT.exec(text);
  if (git === null) {
    const argv = parseWords(text);
    return { kind: 'command', argv: argv.length === 0 ? ['help'] : argv };
  }
  const [, service, rest = ''] = git;
  const repository = ONE_ARGUMENT.exec(rest.trim());
  if (repository === null) throw badRepository(rest);
  if (service === 'upload-archive') {
    throw new DeployError(
      'NO_ARCHIVES',
      'this server does not serve git archive --remote',
      'To get the live files as a tar: the command download TOOL. Or clone the repository, and run git archive in the clone.',
    );
  }
  const tool = toolOf(repository[1] ?? repository[2] ?? repository[3] ?? '');
  return { kind: 'git', service: service === 'receive-pack' ? 'receive-pack' : 'upload-pack', tool };
}

/**
 * Returns the tool of a repository path. `NAME`, `NAME.git`, `/NAME.git` and `~/NAME.git` all name the same repository.
 */
function toolOf(path: string): ToolName {
  const tool = toolName(
    path
      .replace(/^(\/?~)?\//, '')
      .replace(/\/$/, '')
      .replace(/\.git$/, ''),
  );
  if (tool === null) throw badRepository(path);
  return tool;
}

function badRepository(path: string): DeployError {
  return new DeployError(
    'BAD_REPOSITORY',
    path.trim() === ''
      ? 'the repository is missing'
      : `${JSON.stringify(path.slice(0, 80))} is not the repository of a tool`,
    'The address of a tool is ssh://USER@HOST:PORT/TOOL.git, with the tool’s name in lower case. To see the address in your clone: git remote -v.',
  );
}
