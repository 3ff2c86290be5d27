import { removedModule, USE_OTHER_VERSIONS } from '../../core/text/old-python.ts';
import { unsetVariable } from './unset-variable.ts';

/**
 * At most this many characters of a line are searched. The regular expressions scan the rest of the line at each word,
 * so a long line would take much time.
 */
const MAX_LINE = 1000;

/** Matches errors of argparse and click about an option without a value, and captures the option. */
const NO_VALUE =
  /\berror: argument (\S+): (?:expected one argument|invalid \w+ value: '')|Error: Option '(\S+)' requires an argument|Error: Invalid value for '([^']+)': ''/;
/**
 * Matches errors of a program that could not write to a folder. If `mkdir` of Node.js with the option `recursive` may
 * not write, its error is ENOENT.
 */
const READ_ONLY =
  /Read-only file system|\bEROFS\b|\bEACCES: permission denied, \w|PermissionError: \[Errno 13\] Permission denied: '|unable to open database file|readonly database|\bENOENT: .*, mkdir '(?!\/)/;
/** Matches errors of a program that could not connect to a server. */
const NO_CONNECTION =
  /ECONNREFUSED|connection refused|can't connect to|could not connect|connection to server|\[2002\]/i;
/** Matches an address or a socket on the process's own machine, where no other service runs. */
const ITSELF = /\b127\.0\.0\.1\b|::1\b|localhost|\bsocket\b|\[2002\] No such file/i;
/** Matches errors about a host name that no name server knows, and captures the name. */
const NO_HOST =
  /getaddrinfo (?:ENOTFOUND|EAI_AGAIN) (\S+)|could not translate host name "([^"]+)"|Unknown (?:MySQL )?server host '([^']+)'|UnknownHostException: (\S+)|lookup (\S+)(?: on \S+)?: no such host|server on '([^']+)' \(\[Errno -[235]\]|host='([^']+)', port=\d+\).{0,300}(?:Name or service not known|name resolution)/;
/** Matches errors about a file that is missing in the tool's folder, and captures its name. */
const MISSING_FILE = /(?:No such file or directory: |ENOENT: .*, open )'(?:\/workspace\/|\.\/)?([^'/][^']*)'/;
/**
 * Matches errors about a file that is missing in the home folder, or in /data/project, which has the home folders on
 * Toolforge.
 */
const HOME_FILE = /(?:No such file or directory: |ENOENT: .*, open )'(?:\/data\/project|\/home\/tool)\//;
/**
 * Matches errors about a variable that is not set, and captures its name. Such errors come from Python, from its
 * packages decouple and django-environ, and from Ruby.
 */
const UNSET_VARIABLE =
  /^KeyError: '([A-Z][A-Z\d_]{2,})'$|UndefinedValueError: (\w+) not found|: Set the (\w+) environment variable|key not found: "([A-Z][A-Z\d_]{2,})"/;
/** Matches errors of Pydantic and Zod, and captures the names of the settings that have no value. */
const FIELDS =
  /\bValidationError: \d+ validation errors? for \w*(?:Settings|Config|Env)\w*: ([\w, ]+): Field required|^ZodError: ([A-Z][A-Z\d_, ]+): (?:Required|.*received undefined)$/;
/** Matches errors of code that uses a missing value, for example because a variable is not set. */
const NO_VALUE_GIVEN =
  /'NoneType' object|of undefined\b|\bgot None\b|got "?undefined|received undefined|Invalid URL|NoMethodError.*nil|undefined method .* for nil|NotPresent/;
/** Matches code that reads a variable of the environment, and captures its name. */
const READS_VARIABLE =
  /(?:environ(?:\.get)?|getenv|env::var|ENV(?:\.fetch)?)\s*[([]\s*['"](\w+)['"]|process\.env(?:\.(\w+)|\[['"](\w+)['"]\])/;
/** How many of the last lines of the output are searched for code that reads a variable. */
const MOST_ABOVE = 20;
/** Matches errors about a shared library that is missing, and captures its name. */
const NO_LIBRARY =
  /loading shared libraries: (\S+):|\b(lib[\w.+-]+\.so[\w.]*): cannot open shared object file|cannot load library '(lib[^']+)'/;
/**
 * Shared libraries that packages of Python and Node.js often load. Each entry has the beginning of the library's name,
 * and the Debian packages that contain the library.
 */
const LIBRARIES: readonly (readonly [library: string, packages: string])[] = [
  ['libGL.so', 'libgl1 and libglib2.0-0t64'],
  ['libglib-2.0', 'libglib2.0-0t64'],
  ['libgthread-2.0', 'libglib2.0-0t64'],
  ['libgobject-2.0', 'libpango-1.0-0 and libpangoft2-1.0-0'],
  ['libpango', 'libpango-1.0-0 and libpangoft2-1.0-0'],
  ['libcairo', 'libcairo2'],
  ['libpq', 'libpq5'],
  ['libmariadb', 'libmariadb3'],
  ['libgomp', 'libgomp1'],
  ['libzbar', 'libzbar0t64'],
  ['libmagic', 'libmagic1t64'],
  ['libsndfile', 'libsndfile1'],
  ['libxml2', 'libxml2'],
  ['libnss3', 'chromium'],
];
/** The names of Python modules, each with the package to install for it, if this package has another name. */
const PACKAGES: Readonly<Record<string, string>> = {
  bs4: 'beautifulsoup4',
  cv2: 'opencv-python-headless',
  dateutil: 'python-dateutil',
  discord: 'discord.py',
  dotenv: 'python-dotenv',
  git: 'GitPython',
  jose: 'python-jose',
  jwt: 'PyJWT',
  magic: 'python-magic',
  mysql: 'mysql-connector-python',
  MySQLdb: 'mysqlclient',
  multipart: 'python-multipart',
  PIL: 'pillow',
  pkg_resources: 'setuptools<81',
  psycopg2: 'psycopg2-binary',
  rest_framework: 'djangorestframework',
  corsheaders: 'django-cors-headers',
  Crypto: 'pycryptodome',
  environ: 'django-environ',
  slugify: 'python-slugify',
  sklearn: 'scikit-learn',
  telegram: 'python-telegram-bot',
  yaml: 'pyyaml',
  decouple: 'python-decouple',
};
/** Names of modules that are usually the tool's own main file, and not a package to install. */
const OWN_PROGRAMS = new Set([
  'app',
  'main',
  'wsgi',
  'asgi',
  'server',
  'application',
  'run',
  'api',
  'web',
  'src',
  'backend',
]);
/** Names of modules that are usually the tool's own settings, which are often not in the repository. */
const OWN_SETTINGS = new Set(['config', 'settings', 'credentials', 'local_settings', 'secret', 'keys']);
/** Matches errors about parts of Python's own modules that newer versions no longer have. */
const NO_LONGER_IN_PYTHON =
  /module '(?:collections|inspect|time|asyncio|pkgutil|gettext|fractions|ast|unittest|locale|math|platform|string|typing)' has no attribute|cannot import name '\w+' from '(?:collections|inspect|asyncio|fractions|typing|importlib|cgi)[\w.]*' \((?!\/layers\/|\/workspace\/)/;
/**
 * Patterns of errors, each with its hint. These hints are fixed: they need no name of a package, file or variable from
 * the text of the error.
 */
const SENTENCES: readonly (readonly [error: RegExp, hint: string])[] = [
  [
    /Cannot use import statement outside a module/,
    'Node.js takes this file for CommonJS. Write "type": "module" into package.json, and push again.',
  ],
  [
    /(?:require|module|exports|__dirname|__filename) is not defined in ES module scope/,
    'Node.js takes this file for an ES module, because it uses import, or because package.json has "type": "module". Use only import in it, or only require in a file that ends in .cjs, and push again.',
  ],
  [
    /ERR_REQUIRE_ESM|require\(\) of ES Module/,
    'The package is an ES module, which require cannot load here. Ask for an earlier version of the package, or load it with import, and push again.',
  ],
  [
    /@prisma\/client did not initialize yet/,
    'Nothing makes the client of Prisma. Add prisma to the dependencies of package.json and a script "postinstall": "prisma generate", and push again.',
  ],
  [
    /Could not find a production build in the/,
    'Nothing builds the pages. Add a script "build": "next build" to package.json, and push again.',
  ],
  [
    /no such table: |relation "[^"]+" does not exist|Table '[^']+' doesn't exist/,
    'The database does not have this table. Add a line to the Procfile that makes the tables before each release, such as `release: python manage.py migrate`, and push again.',
  ],
  [
    /missing port in address/,
    'The address of the listener needs a colon before the port, in Go `":" + os.Getenv("PORT")`. Correct it and push again.',
  ],
  [
    /EADDRINUSE|[Aa]ddress already in use/,
    'Two programs of the tool listen on the same port. Let only one of them listen on $PORT, and push again.',
  ],
  [
    /'str' object cannot be interpreted as an integer|integer is required \(got type str\)|must be int, not str/,
    'The tool gives a text where a number is needed. A variable such as PORT is a text: write int(os.environ["PORT"]), and push again.',
  ],
  [
    /^Failed to find attribute |Attribute ".+" not found in module/,
    'The command names an application that this file does not have. After the colon, write the name that the file gives to its application, as in `app:app`, and push again.',
  ],
  [
    /Could not import module "/,
    'The command names a module that is not in the folder in which it starts. Correct the name before the colon. If the file is in another folder, write `FOLDER.MODULE:app`. Then push again.',
  ],
  [
    /^Error: '' is not a valid port number/,
    'The command gives no port. If it names a variable, write $PORT, or set the variable (config set TOOL NAME=VALUE), and push again.',
  ],
  [
    /EACCES: permission denied (?:\d|::|\[)|bind on address .{1,80}permission denied|bind: permission denied/i,
    'A tool cannot listen on a port below 1024. Let it listen on $PORT, and push again.',
  ],
  [
    /pathToRegexpError|Missing parameter name at/,
    'This version of Express reads paths such as * in another way than version 4. Ask for "express": "^4.0.0" in package.json, and push again.',
  ],
  [
    /^AttributeError: 'Flask' object has no attribute/,
    'The installed version of Flask does not have this. Write the version that the tool needs into the requirements, such as flask==2.2.5 with werkzeug==2.2.3, and push again.',
  ],
  [
    /cannot execute: required file not found|bad interpreter/,
    'The first line of this script names a program that is not here, or the script has Windows line endings (CRLF). Save it with LF line endings, and begin it with a line such as #!/bin/bash or #!/usr/bin/env python3. Then push again.',
  ],
  [
    /nltk\.org\/data/,
    'NLTK has no data here. Let the tool download the data when it starts, to a folder that it can write to: nltk.download("NAME", download_dir="/tmp/nltk_data"), after nltk.data.path.append("/tmp/nltk_data"). Then push again.',
  ],
  [
    /Failed to allocate memory|buffer allocation failed|Cannot allocate memory|MemoryError\b/i,
    'Make the process need less memory, ask for more memory (mem in service.template), or ask the operator for a higher run_memory.',
  ],
  [
    /Failed to configure a DataSource|Failed to determine a suitable driver class/,
    'The tool has no address of its database. Set SPRING_DATASOURCE_URL, SPRING_DATASOURCE_USERNAME and SPRING_DATASOURCE_PASSWORD (config set TOOL NAME=VALUE), and push again.',
  ],
];

/**
 * Returns a hint that says what to do about an error. Null if this function knows no hint for the error.
 *
 * @param isFolderReadOnly - True if tools of this server cannot write to the folders of their releases.
 * @param lines - The output in which the error was found. It may show that the value of a variable is missing.
 */
export function errorHint(
  error: string,
  isFolderReadOnly = false,
  lines: readonly string[] = [],
): string | null {
  if (/^Fatal Python error: |No module named 'encodings'/.test(error))
    return 'The tool names the folder of a Python that is not here. Remove the variable PYTHONHOME, or `home` or `virtualenv` from the settings of uWSGI, and push again.';
  const option = firstGroup(NO_VALUE, error);
  if (option !== undefined)
    return `The command gives ${option} no value. If the value is a variable, such as $WEB_CONCURRENCY, set the variable (config set TOOL NAME=VALUE), or write the value into the command, and push again.`;
  if (/attempted relative import/.test(error))
    return 'The file uses imports such as `from . import x`, so it must be started as a part of its package, from the folder above: for example `python -m PACKAGE.MODULE` or `gunicorn PACKAGE.MODULE:app` in the Procfile.';
  const python = /No module named '?([\w.]+)/.exec(error)?.[1]?.split('.')[0];
  if (python !== undefined) return removedModule(python) ?? moduleHint(python);
  if (NO_LONGER_IN_PYTHON.test(error))
    return `The Python of this release no longer has this. ${USE_OTHER_VERSIONS}`;
  const changed = /^ImportError: cannot import name '\w+' from '(\w+)[\w.]*' \(\/layers\//.exec(error)?.[1];
  if (changed !== undefined)
    return `The installed version of ${changed} does not have this name. Write the version that the tool needs into the requirements (on your computer, \`pip freeze\` lists versions), and push again.`;
  const node = /Cannot find (?:module|package) '([^'./][^']*)'/.exec(error)?.[1];
  if (node !== undefined) return `Add ${node} to the dependencies of package.json, and push again.`;
  const imported =
    /ERR_MODULE_NOT_FOUND\]: Cannot find module '\/workspace\/([^'.]+)' imported|Directory import '\/workspace\/([^']+)'/.exec(
      error,
    );
  if (imported !== null)
    return `In ES modules, an import needs the whole name of a file: write ${imported[1] === undefined ? `${imported[2]}/index.js` : `${imported[1]}.js`} if this is the file, and push again.`;
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
  const known = SENTENCES.find(([pattern]) => pattern.test(error))?.[1];
  if (known !== undefined) return known;
  const gem = /cannot load such file -- (\w[\w/.-]*)/.exec(error)?.[1];
  if (gem !== undefined)
    return `If ${gem} is a file of the tool, load it with require_relative. Otherwise add its gem to the Gemfile. Then push again.`;
  const backend = /\bfailed to start: (?:\/workspace\/)?(\S+): No such file/.exec(error)?.[1];
  if (backend !== undefined)
    return `.lighttpd.conf starts ${backend}. Check that this file is in the repository, and that the program in its first line exists here: /usr/bin/env python3, not /usr/bin/python. Then push again.`;
  const program = /: line \d+: ([\w.+-]+): command not found$/.exec(error)?.[1];
  if (program !== undefined)
    return `Nothing installs ${program}. Correct the name, add its package to the packages of the tool, or write its Debian package into a file Aptfile. Then push again.`;
  const jar = /Unable to access jarfile (\S+)/.exec(error)?.[1];
  if (jar !== undefined)
    return `There is no ${jar}. The build makes jars in the folder target, or build/libs with Gradle, of the tool or of its module: write the path from the top of the repository, without / before it, and push again.`;
  const library = firstGroup(NO_LIBRARY, error);
  if (library !== undefined) {
    const debian = LIBRARIES.find(([name]) => library.startsWith(name))?.[1];
    return `Name ${debian ?? `the Debian package that has ${library}`} in an Aptfile, and push again.`;
  }
  if (/unable to open database file/.test(error) && !isFolderReadOnly)
    return 'The folder of this file does not exist, or a running tool cannot write there. Let the tool make the folder before. It can write to /tmp and to its home folder, which are empty at each start. Data that must last belongs into a database. Then push again.';
  if (READ_ONLY.test(error))
    return `${isFolderReadOnly ? 'On this server, a running tool cannot write to /workspace, the folder of its release.' : 'A running tool cannot write there.'} It can write to /tmp and to its home folder, which are empty at each start. Let it write to one of them, or keep its data in a database, and push again.`;
  if (NO_CONNECTION.test(error) && ITSELF.test(error))
    return 'The tool looks for a database or another service beside itself, where none runs. Set the variable with the address of your service, such as DATABASE_URL or REDIS_URL (config set TOOL NAME=VALUE), and push again.';
  const host = firstGroup(NO_HOST, error);
  if (host !== undefined)
    return `No host has the name ${host} here. If the tool reads it from a variable, correct the variable (config set TOOL NAME=VALUE). Otherwise push again later, or tell the operator.`;
  const file = MISSING_FILE.exec(error)?.[1];
  if (file !== undefined && !error.includes('/workspace/'))
    return `There is no ${file} in the folder in which the tool starts, which is usually the top of the repository. Write its path from there, or commit the file, and push again. If it has passwords, let the tool read them from variables, and set these: config set TOOL NAME=VALUE`;
  if (file !== undefined)
    return `${file} is not in the repository. Commit it and push again. If it has passwords, let the tool read them from variables, and set these: config set TOOL NAME=VALUE`;
  if (HOME_FILE.test(error))
    return 'The home folder is empty here when a process starts, and /data/project has no files either. If the tool writes its log there, let it print the log instead. If the file has passwords, let the tool read them from variables, and set these (config set TOOL NAME=VALUE). Then push again.';
  if (/SyntaxError: Missing parentheses in call to 'print'/.test(error))
    return 'This file is written for Python 2. Convert it to Python 3, for example with the program 2to3, and push again.';
  const ruby = /^(?:\/workspace\/)?([\w./-]+):(\d+): syntax error/.exec(error);
  if (ruby !== null) return `Correct line ${ruby[2]} of ${ruby[1]}, or the line above it, and push again.`;
  const worker = /^RuntimeError: (\w+) worker requires/.exec(error)?.[1];
  if (worker !== undefined) return `Add ${worker} to the requirements, and push again.`;
  const place = /^(\S+) line (\d+): (?:SyntaxError|IndentationError|TabError): /.exec(error);
  if (place !== null) return `Correct line ${place[2]} of ${place[1]}, or the line above it, and push again.`;
  const fields = firstGroup(FIELDS, error)?.toUpperCase();
  if (fields !== undefined)
    return `If the tool reads ${fields} from its environment, set ${fields.includes(',') ? 'these variables' : 'this variable'} (config set TOOL ${fields
      .split(', ')
      .map((name) => `${name}=VALUE`)
      .join(' ')}), and push again.`;
  const variable =
    firstGroup(UNSET_VARIABLE, error) ??
    unsetVariable(error) ??
    (NO_VALUE_GIVEN.test(error) ? variableIn(lines) : undefined);
  if (variable !== undefined)
    return `If the tool reads ${variable} from its environment, set this variable (config set TOOL ${variable}=VALUE), and push again.`;
  if (NO_VALUE_GIVEN.test(error) && /url|uri|address/i.test(error))
    return 'The tool has no address of its database or service. Set the variable from which it reads the address, such as DATABASE_URL (config set TOOL NAME=VALUE), and push again.';
  return null;
}

/** Returns the hint for a module that Python does not find. */
function moduleHint(module: string): string {
  if (OWN_PROGRAMS.has(module))
    return `If ${module} is a file of the tool, the command starts in another folder than this file. Write the folder into the command, as in \`gunicorn --chdir FOLDER ${module}:app\`, or correct the name, and push again.`;
  if (OWN_SETTINGS.has(module))
    return `If ${module}.py is a file of the tool, commit it. If it has passwords, let it read them from variables, and set these (config set TOOL NAME=VALUE). Then push again.`;
  const found = Object.hasOwn(PACKAGES, module) ? PACKAGES[module] : undefined;
  return found === undefined
    ? `Add the package that has the module ${module} to the requirements, or correct the name, and push again.`
    : `Add ${found}, which has the module ${module}, to the requirements, and push again.`;
}

/**
 * Searches the last `MOST_ABOVE` of these lines for code that reads an environment variable. Returns the name of the
 * variable that is read last. Undefined if no line reads one.
 */
function variableIn(lines: readonly string[]): string | undefined {
  return lines
    .slice(-MOST_ABOVE)
    .map((line) => firstGroup(READS_VARIABLE, line.slice(0, MAX_LINE)))
    .findLast((name) => name !== undefined);
}

/**
 * Returns the text of the first group of the pattern that has captured any. Undefined if the pattern does not match.
 */
function firstGroup(pattern: RegExp, text: string): string | undefined {
  return pattern
    .exec(text)
    ?.slice(1)
    .find((group) => group !== undefined);
}
