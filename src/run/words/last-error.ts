import { removedModule } from '../../core/text/old-python.ts';

const MAX_LENGTH = 160;
/**
 * At most this many characters of a line are searched, because the expressions scan the rest of the line at each word.
 */
const MAX_LINE = 1000;

/** Match lines with which programs say why they end: exceptions of several languages, and messages of shells. */
const ERRORS = [
  // Python, Node.js, Java, Ruby, .NET: the name of the exception begins the line.
  /^(?:Uncaught |Caused by: |Exception in thread "[^"]*" )?(?:[\w$]+(?:\.|::))*(?:[A-Z]\w*(?:Error|Exception|Exit|NotFound)|ImproperlyConfigured)(?: \[\w+\])?:/,
  /^Error: \S|^\[cause\]: \S|^node: \S+: not found$/,
  /^(?:PHP )?(?:Fatal error|Parse error): /i,
  /^panic: |^thread '[^']*' .*panicked at|^fatal error: |^Fatal Python error: /,
  // Perl and Ruby, if a module or the program itself cannot be loaded.
  /^Can't locate \S+ in @INC|^Error while loading \S+: |^Can't open perl script|cannot load such file -- | \(LoadError\)$|^syntax error at /,
  // A file is missing or cannot be run: messages of shells, Python, env and the dynamic linker.
  /^(?:\/bin\/)?(?:ba|da)?sh: .*(?:not found|No such file or directory|Permission denied|cannot execute)/,
  /: can't open file |^env: .*No such file or directory|^error while loading shared libraries: |: error while loading shared libraries: /,
  // Programs that do not know an option: getopt(3) and uWSGI.
  /^\S+: (?:unrecognized|unknown|invalid) option\b|^\[strict-mode\] unknown config directive: /,
  // lighttpd, if the program of `fastcgi.server` ends. The line begins with the time.
  /\(gw_backend\.c\.\d+\) (?=.*\b(?:failed to start|child exited|terminated by signal)\b)/,
  // Servers that cannot load the program or listen on the port.
  /^Error: class uri |^Failed to (?:find|parse) |^ERROR: +(?:Error loading|\[Errno)|^(?:[\w.-]+: )?error: +\S/i,
];

/**
 * Matches a line that has the name and text of an exception after other words. Indented lines do not match, because
 * they are parts of a longer text.
 */
const EXCEPTION = /^\S(?:.{0,200}[\s:])?(?:[A-Z]\w*)?(?:Error|Exception)(?: \[\w+\])?: \S/;

/** Matches errors of argparse and click about an option without a value, and captures the option. */
const NO_VALUE =
  /\berror: argument (\S+): (?:expected one argument|invalid \w+ value: '')|Error: Option '(\S+)' requires an argument|Error: Invalid value for '([^']+)': ''/;
/**
 * Matches errors of a program that could not write to a folder. If `mkdir` of Node.js with the option `recursive` may
 * not write, its error is ENOENT.
 */
const READ_ONLY =
  /Read-only file system|\bEROFS\b|unable to open database file|readonly database|\bENOENT: .*, mkdir '(?!\/)/;
/** Matches errors of a program that could not connect to a server. */
const NO_CONNECTION =
  /ECONNREFUSED|connection refused|can't connect to|could not connect|connection to server|\[2002\]/i;
/** Matches an address or a socket on the process's own machine, where no other service runs. */
const ITSELF = /\b127\.0\.0\.1\b|::1\b|localhost|\bsocket\b|\[2002\] No such file/i;
/** Matches errors about a host name that no name server knows, and captures the name. */
const NO_HOST =
  /getaddrinfo (?:ENOTFOUND|EAI_AGAIN) (\S+)|could not translate host name "([^"]+)"|Unknown (?:MySQL )?server host '([^']+)'|UnknownHostException: (\S+)|lookup (\S+)(?: on \S+)?: no such host/;
/** Matches errors about a file that is missing in the tool's folder, and captures its name. */
const MISSING_FILE = /(?:No such file or directory: |ENOENT: .*, open )'(?:\/workspace\/|\.\/)?([^'/][^']*)'/;
/** Matches errors about a file that is missing in the home folder. */
const HOME_FILE = /(?:No such file or directory: |ENOENT: .*, open )'(?:\/data\/project|\/home\/tool)\//;
/** Matches errors of Python, decouple and django-environ about a variable that is not set, and captures its name. */
const UNSET_VARIABLE =
  /^KeyError: '([A-Z][A-Z\d_]{2,})'$|UndefinedValueError: (\w+) not found|: Set the (\w+) environment variable/;

/**
 * Returns the last line that says why a process ended, in at most 160 characters. If no line begins with an error,
 * returns the last line that has an error after other words. Null if no line has an error.
 */
export function lastError(lines: readonly string[]): string | null {
  const cut = lines.map((line) => line.slice(0, MAX_LINE).trimEnd());
  const found =
    cut.map((line) => line.trim()).findLast((line) => ERRORS.some((error) => error.test(line))) ??
    cut.findLast((line) => EXCEPTION.test(line));
  if (found === undefined) return null;
  const text = found.replace(/^(?:\[cause\]|Caused by|[-\d]{10} [:\d]{8}): /, '').replaceAll(/\s+/g, ' ');
  return text.length <= MAX_LENGTH ? text : `${text.slice(0, MAX_LENGTH - 1)}…`;
}

/**
 * How many of the last lines of output are searched for the first line of an error. Node.js prints an error with all
 * its properties, which may take many lines. An error further back is not the reason why the process ended.
 */
export const MOST_DETAILS = 2000;

/** True if a line begins an error whose details may follow in many lines. */
export function beginsError(line: string): boolean {
  return !line.startsWith(' ') && /Error|Exception/.test(line) && lastError([line]) !== null;
}

/**
 * Returns a hint that says what to do about an error. Null if this function knows no hint for the error.
 *
 * @param isFolderReadOnly - True if tools of this server cannot write to the folders of their releases.
 */
export function errorHint(error: string, isFolderReadOnly = false): string | null {
  if (/^Fatal Python error: |No module named 'encodings'/.test(error))
    return 'The tool names the folder of a Python that is not here. Remove the variable PYTHONHOME, or `home` or `virtualenv` from the settings of uWSGI, and push again.';
  const option = firstGroup(NO_VALUE, error);
  if (option !== undefined)
    return `The command gives ${option} no value. If the value is a variable, such as $WEB_CONCURRENCY, set the variable (config set TOOL NAME=VALUE), or write the value into the command, and push again.`;
  if (/attempted relative import/.test(error))
    return 'The file uses imports such as `from . import x`, so it must be started as a part of its package, from the folder above: for example `python -m PACKAGE.MODULE` or `gunicorn PACKAGE.MODULE:app` in the Procfile.';
  const python = /No module named '?([\w.]+)/.exec(error)?.[1]?.split('.')[0];
  if (python !== undefined)
    return (
      removedModule(python) ??
      `Add the package that has the module ${python} to the requirements, or correct the name, and push again.`
    );
  const changed = /^ImportError: cannot import name '\w+' from '(\w+)[\w.]*' \(\/layers\//.exec(error)?.[1];
  if (changed !== undefined)
    return `The installed version of ${changed} does not have this name. Write the version that the tool needs into the requirements (on your computer, \`pip freeze\` lists versions), and push again.`;
  const node = /Cannot find (?:module|package) '([^'./][^']*)'/.exec(error)?.[1];
  if (node !== undefined) return `Add ${node} to the dependencies of package.json, and push again.`;
  const ownFile = /Cannot find module '(\.{0,2}\/[^']*)'/.exec(error)?.[1];
  if (ownFile !== undefined)
    return `${ownFile.replace(/^\/workspace\//, '')} is not in the repository, and the build does not make it. Check the name: upper and lower case letters differ on this server. Then push again.`;
  const settings = /^node: (\S+): not found$/.exec(error)?.[1];
  if (settings !== undefined)
    return `${settings} is not in the repository, and should not be if it has passwords. Write --env-file-if-exists instead of --env-file, set the variables with config set TOOL NAME=VALUE, and push again.`;
  const perl = /^(?:Error while loading \S+: )?Can't locate (\S+)\.pm in @INC/
    .exec(error)?.[1]
    ?.replaceAll('/', '::');
  if (perl !== undefined)
    return `Add ${perl} to the cpanfile, or its Debian package to an Aptfile, and push again.`;
  const backend = /\bfailed to start: (?:\/workspace\/)?(\S+): No such file/.exec(error)?.[1];
  if (backend !== undefined)
    return `.lighttpd.conf starts ${backend}. Check that this file is in the repository, and that the program in its first line exists here: /usr/bin/env python3, not /usr/bin/python. Then push again.`;
  const jar = /Unable to access jarfile (\S+)/.exec(error)?.[1];
  if (jar !== undefined)
    return `There is no ${jar}. The build makes jars in the folder target, or build/libs with Gradle, of the tool or of its module: write the path from the top of the repository, without / before it, and push again.`;
  const library = /loading shared libraries: (\S+):/.exec(error)?.[1];
  if (library !== undefined)
    return `Name the Debian package that has ${library} in an Aptfile, and push again.`;
  if (READ_ONLY.test(error))
    return `${isFolderReadOnly ? 'On this server, a running tool cannot write to /workspace, the folder of its release.' : 'A running tool cannot write there.'} It can write to /tmp and to its home folder, which are empty at each start. Let it write to one of them, or keep its data in a database, and push again.`;
  if (NO_CONNECTION.test(error) && ITSELF.test(error))
    return 'The tool looks for a database or another service beside itself, where none runs. Set the variable with the address of your service, such as DATABASE_URL or REDIS_URL (config set TOOL NAME=VALUE), and push again.';
  const host = firstGroup(NO_HOST, error);
  if (host !== undefined)
    return `No host has the name ${host} here. If the tool reads it from a variable, correct the variable (config set TOOL NAME=VALUE). Otherwise push again later, or tell the operator.`;
  const file = MISSING_FILE.exec(error)?.[1];
  if (file !== undefined)
    return `${file} is not in the repository. Commit it and push again. If it has passwords, let the tool read them from variables, and set these: config set TOOL NAME=VALUE`;
  if (HOME_FILE.test(error))
    return 'The home folder is empty here. Let the tool read its passwords from variables, set these (config set TOOL NAME=VALUE), and push again.';
  const variable = firstGroup(UNSET_VARIABLE, error);
  if (variable !== undefined)
    return `If the tool reads ${variable} from its environment, set this variable (config set TOOL ${variable}=VALUE), and push again.`;
  return null;
}

/** Returns the first group of the pattern that matches. Undefined if none does. */
function firstGroup(pattern: RegExp, text: string): string | undefined {
  return pattern
    .exec(text)
    ?.slice(1)
    .find((group) => group !== undefined);
}
