import assert from 'node:assert/strict';
import { test } from 'node:test';
import { errorHint } from '../../../src/run/words/error-hints.ts';
import { lastError } from '../../../src/run/words/last-error.ts';
import { notHealthy } from '../../../src/run/words/rollout-words.ts';

for (const { name, output, error, hint = null } of [
  {
    name: 'gunicorn without a module',
    output: `[2026-01-01 00:00:00 +0000] [5] [ERROR] Exception in worker process
  File "/workspace/app.py", line 1, in <module>
    import pymysql
ModuleNotFoundError: No module named 'pymysql'
[2026-01-01 00:00:00 +0000] [5] [INFO] Worker exiting (pid: 5)
[2026-01-01 00:00:00 +0000] [2] [ERROR] Worker (pid:5) exited with code 3
[2026-01-01 00:00:00 +0000] [2] [ERROR] Reason: Worker failed to boot.`,
    error: "ModuleNotFoundError: No module named 'pymysql'",
    hint: /^Add the package that has the module pymysql to the requirements/,
  },
  {
    name: 'a module that Python has removed',
    output: "  import cgi\nModuleNotFoundError: No module named 'cgi'",
    error: "ModuleNotFoundError: No module named 'cgi'",
    hint: /^Since Python 3\.13, Python has no module cgi\. .* an older Python in \.python-version, and push again\.$/,
  },
  {
    name: 'a package in another version than the tool needs',
    output:
      "ImportError: cannot import name 'url_quote' from 'werkzeug.urls' (/layers/toolforge_pip/venv/lib/python3.13/site-packages/werkzeug/urls.py)",
    error:
      "ImportError: cannot import name 'url_quote' from 'werkzeug.urls' (/layers/toolforge_pip/venv/lib/python3.13/site-packages/werkzeug/urls.py)",
    hint: /^The installed version of werkzeug does not have this name\. Write the version/,
  },
  {
    name: 'uWSGI without a module',
    output: `ModuleNotFoundError: No module named 'requests.adapters'
unable to load app 0 (mountpoint='') (callable not found or import error)
*** no app loaded. GAME OVER ***`,
    error: "ModuleNotFoundError: No module named 'requests.adapters'",
    hint: /module requests to/,
  },
  {
    name: 'gunicorn with an option whose variable is not set',
    output: `usage: gunicorn [OPTIONS] [APP_MODULE]
gunicorn: error: argument -w/--workers: expected one argument`,
    error: 'gunicorn: error: argument -w/--workers: expected one argument',
    hint: /^The command gives -w\/--workers no value\. .*config set TOOL NAME=VALUE/,
  },
  {
    name: 'uvicorn with an option whose variable is empty',
    output: `Usage: uvicorn [OPTIONS] APP
Try 'uvicorn --help' for help.

Error: Invalid value for '--port': '' is not a valid integer.`,
    error: "Error: Invalid value for '--port': '' is not a valid integer.",
    hint: /^The command gives --port no value\./,
  },
  {
    name: 'a file that is started outside of its package',
    output: `Traceback (most recent call last):
  File "/workspace/src/app.py", line 1, in <module>
    from . import monitor
ImportError: attempted relative import with no known parent package`,
    error: 'ImportError: attempted relative import with no known parent package',
    hint: /must be started as a part of its package/,
  },
  {
    name: 'a variable PYTHONHOME that names the folder of another Python',
    output: `Could not find platform independent libraries <prefix>
Python path configuration:
  PYTHONHOME = '/data/project/x/venv'
Fatal Python error: init_fs_encoding: failed to get the Python codec of the filesystem encoding
Python runtime state: core initialized
ModuleNotFoundError: No module named 'encodings'`,
    error: "ModuleNotFoundError: No module named 'encodings'",
    hint: /Remove the variable PYTHONHOME/,
  },
  {
    name: 'uWSGI with an unknown setting in strict mode',
    output: `[uWSGI] getting INI configuration from uwsgi.ini
[strict-mode] unknown config directive: wsgi-fil`,
    error: '[strict-mode] unknown config directive: wsgi-fil',
  },
  {
    name: 'a program with an unknown option',
    output: "uwsgi: unrecognized option '--http-soket'\nusage: uwsgi",
    error: "uwsgi: unrecognized option '--http-soket'",
  },
  {
    name: 'plackup without a module',
    output:
      "Error while loading /workspace/app.psgi: Can't locate Dancer2.pm in @INC (you may need to install the Dancer2 module) at /workspace/app.psgi line 1.",
    error:
      "Error while loading /workspace/app.psgi: Can't locate Dancer2.pm in @INC (you may need to install the Dancer2 module) at /workspace/app.psgi line 1.",
    hint: /^Add Dancer2 to the cpanfile/,
  },
  {
    name: 'lighttpd whose FastCGI program cannot start',
    output: `2026-12-01 05:06:17: (gw_backend.c.653) gw-backend failed to start: /workspace/phe/hocr.py: No such file or directory
2026-12-01 05:06:17: (server.c.1978) Configuration of plugins failed. Going down.`,
    error: '(gw_backend.c.653) gw-backend failed to start: /workspace/phe/hocr.py: No such file or directory',
    hint: /^\.lighttpd\.conf starts phe\/hocr\.py\. Check that this file is in the repository, and that the program in its first line/,
  },
  {
    name: 'Java without the jar that it is to run',
    output: 'Error: Unable to access jarfile /target/web/a-1.jar',
    error: 'Error: Unable to access jarfile /target/web/a-1.jar',
    hint: /^There is no \/target\/web\/a-1\.jar\. The build makes jars in the folder target, .* without \/ before it/,
  },
  {
    name: 'lighttpd whose FastCGI program ends',
    output: `2026-11-30 10:00:00: (server.c.1909) server started (lighttpd/1.4.79)
2026-11-30 10:00:00: (gw_backend.c.575) child exited with status 2 /workspace/app.fcgi
2026-11-30 10:00:00: (gw_backend.c.1655) [ERROR]: spawning gw failed.`,
    error: '(gw_backend.c.575) child exited with status 2 /workspace/app.fcgi',
  },
  {
    name: 'Node without a module',
    output: `node:internal/modules/cjs/loader:1228
  throw err;
  ^

Error: Cannot find module '@wiki/api'
Require stack:
- /workspace/server.js
    at Module._resolveFilename (node:internal/modules/cjs/loader:1225:15) {
  code: 'MODULE_NOT_FOUND',
  requireStack: [ '/workspace/server.js' ]
}

Node.js v24.1.0`,
    error: "Error: Cannot find module '@wiki/api'",
    hint: /^Add @wiki\/api to the dependencies/,
  },
  {
    name: 'Node without a file of its own',
    output: "Error: Cannot find module './routes'\nNode.js v24.1.0",
    error: "Error: Cannot find module './routes'",
    hint: /^\.\/routes is not in the repository, .* upper and lower case letters differ/,
  },
  {
    name: 'Node without the file that it is to run',
    output: "Error: Cannot find module '/workspace/dist/main.js'\nNode.js v24.1.0",
    error: "Error: Cannot find module '/workspace/dist/main.js'",
    hint: /^dist\/main\.js is not in the repository, and the build does not make it\./,
  },
  {
    name: 'Node without a file of variables',
    output: 'node: .env: not found',
    error: 'node: .env: not found',
    hint: /^\.env is not in the repository, .* set the variables with config set TOOL NAME=VALUE/,
  },
  {
    name: 'an environment variable that is not set',
    output: `Traceback (most recent call last):\n  File "/workspace/app.py", line 3, in <module>\nKeyError: 'DB_HOST'`,
    error: "KeyError: 'DB_HOST'",
    hint: /set this variable \(config set TOOL DB_HOST=VALUE\)/,
  },
  {
    name: 'an environment variable that decouple does not find',
    output:
      'decouple.UndefinedValueError: SECRET_KEY not found. Declare it as envvar or define a default value.',
    error:
      'decouple.UndefinedValueError: SECRET_KEY not found. Declare it as envvar or define a default value.',
    hint: /config set TOOL SECRET_KEY=VALUE/,
  },
  {
    name: 'a missing dictionary key that is no environment variable',
    output: "KeyError: 'title'",
    error: "KeyError: 'title'",
  },
  {
    name: 'SQLite in the folder of the tool',
    output: 'django.db.utils.OperationalError: unable to open database file',
    error: 'django.db.utils.OperationalError: unable to open database file',
    hint: /can write to \/tmp and to its home folder/,
  },
  {
    name: 'a folder that Node cannot create',
    output: "Error: ENOENT: no such file or directory, mkdir 'uploads'\n    at x",
    error: "Error: ENOENT: no such file or directory, mkdir 'uploads'",
    hint: /can write to \/tmp/,
  },
  {
    name: 'a configuration that is not in the repository',
    output:
      "FileNotFoundError: [Errno 2] No such file or directory: '/workspace/config.yaml'\n*** no app loaded.",
    error: "FileNotFoundError: [Errno 2] No such file or directory: '/workspace/config.yaml'",
    hint: /^config\.yaml is not in the repository\. Commit it and push again\. If it has passwords, .* config set TOOL/,
  },
  {
    name: 'a file that the tool looks for in another folder',
    output: "FileNotFoundError: [Errno 2] No such file or directory: 'config.json'",
    error: "FileNotFoundError: [Errno 2] No such file or directory: 'config.json'",
    hint: /^There is no config\.json in the folder in which the tool starts/,
  },
  {
    name: 'a script whose first line names a program that is not here',
    output: 'bash: line 1: ./start.sh: cannot execute: required file not found',
    error: 'bash: line 1: ./start.sh: cannot execute: required file not found',
    hint: /Windows line endings/,
  },
  {
    name: 'a file in the home folder',
    output: "FileNotFoundError: [Errno 2] No such file or directory: '/data/project/bot/replica.my.cnf'",
    error: "FileNotFoundError: [Errno 2] No such file or directory: '/data/project/bot/replica.my.cnf'",
    hint: /^The home folder is empty here/,
  },
  {
    name: 'a setting that Django misses',
    output: 'django.core.exceptions.ImproperlyConfigured: The SECRET_KEY setting must not be empty.',
    error: 'django.core.exceptions.ImproperlyConfigured: The SECRET_KEY setting must not be empty.',
    hint: /config set TOOL SECRET_KEY=VALUE/,
  },
  {
    name: 'a database that is gone',
    output: 'sqlalchemy.exc.OperationalError: (x) gone\n(Background on this error: https://x)',
    error: 'sqlalchemy.exc.OperationalError: (x) gone',
  },
  {
    name: 'an error after other words, with its properties',
    output:
      "Cannot load the wikis AxiosError: getaddrinfo ENOTFOUND wiki.example\n    at x {\n  code: 'ENOTFOUND',\n}",
    error: 'Cannot load the wikis AxiosError: getaddrinfo ENOTFOUND wiki.example',
    hint: /^No host has the name wiki\.example here\./,
  },
  {
    name: 'the end of the properties of an error',
    output:
      '  },\n  [cause]: Error: getaddrinfo EAI_AGAIN wiki.example\n      at x {\n    errno: -3001\n  }\n}\n\nNode.js v24.22.3',
    error: 'Error: getaddrinfo EAI_AGAIN wiki.example',
    hint: /^No host has the name wiki\.example here\./,
  },
  {
    name: 'a database on a host that nobody knows',
    output: `pymysql.err.OperationalError: (2003, "Can't connect to MySQL server on 'tools.db.wiki.example' ([Errno -2] Name or service not known)")`,
    error: `pymysql.err.OperationalError: (2003, "Can't connect to MySQL server on 'tools.db.wiki.example' ([Errno -2] Name or service not known)")`,
    hint: /^No host has the name tools\.db\.wiki\.example here\./,
  },
  ...[
    'Error: connect ECONNREFUSED 127.0.0.1:6379',
    'psycopg2.OperationalError: connection to server at "localhost" (::1), port 5432 failed: Connection refused',
    `pymysql.err.OperationalError: (2003, "Can't connect to MySQL server on 'localhost' ([Errno 111])")`,
  ].map((error) => ({
    name: `a database or another service that does not run beside the tool: ${error}`,
    output: error,
    error,
    hint: /^The tool looks for a database or another service beside itself, where none runs\./,
  })),
  {
    name: 'a program that a shell does not find',
    output: 'bash: line 1: ./start: No such file or directory',
    error: 'bash: line 1: ./start: No such file or directory',
  },
  {
    name: 'a program that nothing installs',
    output: 'bash: line 1: mono: command not found',
    error: 'bash: line 1: mono: command not found',
    hint: /^Nothing installs mono\. .* Aptfile/,
  },
  {
    name: 'a panic in Go',
    output:
      'panic: runtime error: index out of range [3]\n\ngoroutine 1 [running]:\nmain.main()\nexit status 2',
    error: 'panic: runtime error: index out of range [3]',
  },
  {
    name: 'a fatal error in PHP',
    output: 'PHP Fatal error:  Uncaught Error: no in /workspace/index.php:3',
    error: 'PHP Fatal error: Uncaught Error: no in /workspace/index.php:3',
  },
  {
    name: 'Perl without a module',
    output:
      "Can't locate Mojolicious/Lite.pm in @INC (you may need to install it) at app.pl line 2.\nBEGIN failed",
    error: "Can't locate Mojolicious/Lite.pm in @INC (you may need to install it) at app.pl line 2.",
    hint: /^Add Mojolicious::Lite to the cpanfile/,
  },
  {
    name: 'a shared library that is missing',
    output: 'convert: error while loading shared libraries: libMagick.so.6: cannot open shared object file',
    error: 'convert: error while loading shared libraries: libMagick.so.6: cannot open shared object file',
    hint: /has libMagick\.so\.6 in an Aptfile/,
  },
  {
    name: 'an exception in Java',
    output: 'Exception in thread "main" java.lang.NoClassDefFoundError: a/B\n\tat x',
    error: 'Exception in thread "main" java.lang.NoClassDefFoundError: a/B',
  },
  {
    name: 'uvicorn without a module',
    output: 'ERROR:    Error loading ASGI app. Could not import module "main".',
    error: 'ERROR: Error loading ASGI app. Could not import module "main".',
    hint: /^The command names a module that is not in the folder in which it starts/,
  },
  {
    name: 'a program with wrong arguments',
    output: 'usage: gunicorn [OPTIONS] [APP_MODULE]\ngunicorn: error: unrecognized arguments: --worker',
    error: 'gunicorn: error: unrecognized arguments: --worker',
  },
  {
    name: 'Python code that is no Python, with its place',
    output: `  File "/layers/toolforge_pip/venv/lib/python3.13/site-packages/gunicorn/util.py", line 370, in import_app
    mod = importlib.import_module(module)
  File "/workspace/app.py", line 5
    def index()
               ^
SyntaxError: expected ':'
[2026-12-01 08:00:00 +0000] [7] [INFO] Worker exiting (pid: 7)`,
    error: "app.py line 5: SyntaxError: expected ':'",
    hint: /^Correct line 5 of app\.py, or the line above it/,
  },
  {
    name: 'JavaScript that is no JavaScript, with its place',
    output: `/workspace/src/index.js:4
app.listen(process.env.PORT, () => { console.log('x' );
                                                     ^

SyntaxError: missing ) after argument list
    at wrapSafe (node:internal/modules/cjs/loader:1638:18)`,
    error: 'src/index.js line 4: SyntaxError: missing ) after argument list',
    hint: /^Correct line 4 of src\/index\.js/,
  },
  {
    name: 'text that is no JSON, which has no place in a file of the tool',
    output: `SyntaxError: Unexpected token 'o', "not json" is not valid JSON\n    at JSON.parse (<anonymous>)`,
    error: `SyntaxError: Unexpected token 'o', "not json" is not valid JSON`,
  },
  {
    name: 'a panic in Rust, whose text is on the next line',
    output: `
thread 'main' panicked at src/main.rs:12:37:
DATABASE_URL must be set: NotPresent
note: run with \`RUST_BACKTRACE=1\` environment variable to display a backtrace`,
    error: "thread 'main' panicked at src/main.rs:12:37: DATABASE_URL must be set: NotPresent",
    hint: /config set TOOL DATABASE_URL=VALUE/,
  },
  {
    name: 'settings of Pydantic without values',
    output: `pydantic_core._pydantic_core.ValidationError: 2 validation errors for Settings
database_url
  Field required [type=missing, input_value={}, input_type=dict]
    For further information visit https://errors.pydantic.dev/2.13/v/missing
secret_key
  Field required [type=missing, input_value={}, input_type=dict]
    For further information visit https://errors.pydantic.dev/2.13/v/missing`,
    error: 'ValidationError: 2 validation errors for Settings: database_url, secret_key: Field required',
    hint: /config set TOOL DATABASE_URL=VALUE SECRET_KEY=VALUE\)/,
  },
  {
    name: 'variables that Zod does not accept',
    output: `ZodError: [
  {
    "code": "invalid_type",
    "expected": "string",
    "received": "undefined",
    "path": [
      "DATABASE_URL"
    ],
    "message": "Required"
  },
  {
    "code": "invalid_type",
    "path": [
      "SESSION_SECRET"
    ],
    "message": "Required"
  }
]
    at get error (/workspace/node_modules/zod/v3/types.cjs:45:31)`,
    error: 'ZodError: DATABASE_URL, SESSION_SECRET: Required',
    hint: /set these variables \(config set TOOL DATABASE_URL=VALUE SESSION_SECRET=VALUE\)/,
  },
  {
    name: 'variables that Zod does not accept, if only the properties of the error are left',
    output: `ZodError: [
    {
      code: 'invalid_type',
      path: [ 'SESSION_SECRET' ],
      message: 'Required'
    }
  ],
  addIssue: [Function (anonymous)]
}

Node.js v24.22.3`,
    error: 'ZodError: SESSION_SECRET: Required',
    hint: /set this variable \(config set TOOL SESSION_SECRET=VALUE\)/,
  },
  ...[
    'Error: Please define the MONGODB_URI environment variable inside .env.local',
    'RuntimeError: MONGODB_URI environment variable is required',
    'MONGODB_URI is not set, exiting',
    'Missing required environment variable: MONGODB_URI',
    'panic: MONGODB_URI is not set',
    'app.rb:3:in `fetch\': key not found: "MONGODB_URI" (KeyError)',
  ].map((error) => ({
    name: `a variable that is not set: ${error}`,
    output: `starting\n${error}\n`,
    error,
    hint: /^If the tool reads MONGODB_URI from its environment, .*config set TOOL MONGODB_URI=VALUE/,
  })),
  {
    name: 'a missing value, because a variable is not set',
    output: `  File "/workspace/app.py", line 5, in <module>
    uri = os.environ.get('DATABASE_URL').replace('postgres://', 'postgresql://')
AttributeError: 'NoneType' object has no attribute 'replace'`,
    error: "AttributeError: 'NoneType' object has no attribute 'replace'",
    hint: /config set TOOL DATABASE_URL=VALUE/,
  },
  {
    name: 'a missing value for another reason',
    output: "AttributeError: 'NoneType' object has no attribute 'group'",
    error: "AttributeError: 'NoneType' object has no attribute 'group'",
  },
  {
    name: 'a code of Node in the name of the error',
    output: "Error [ERR_MODULE_NOT_FOUND]: Cannot find package 'koa' imported from /workspace/app.js",
    error: "Error [ERR_MODULE_NOT_FOUND]: Cannot find package 'koa' imported from /workspace/app.js",
    hint: /^Add koa to the dependencies/,
  },
  {
    name: 'an import in an ES module without the end of the name',
    output:
      "Error [ERR_MODULE_NOT_FOUND]: Cannot find module '/workspace/routes' imported from /workspace/index.js",
    error:
      "Error [ERR_MODULE_NOT_FOUND]: Cannot find module '/workspace/routes' imported from /workspace/index.js",
    hint: /needs the whole name of a file: write routes\.js/,
  },
  {
    name: 'the last line of a program in Go, by log.Fatal',
    output: `2026/12/01 08:00:00 starting\n2026/12/01 08:00:01 main.go:12: listen tcp: address 8000: missing port in address`,
    error: 'listen tcp: address 8000: missing port in address',
    hint: /^The address of the listener needs a colon before the port/,
  },
  {
    name: 'Spring Boot without a database',
    output: `2026-12-01T08:00:00.000Z  WARN 2 --- [main] x : Exception encountered during context initialization: org.x.BeanCreationException: Error creating bean

***************************
APPLICATION FAILED TO START
***************************

Description:

Failed to configure a DataSource: 'url' attribute is not specified and no embedded datasource could be configured.

Reason: Failed to determine a suitable driver class`,
    error:
      "Failed to configure a DataSource: 'url' attribute is not specified and no embedded datasource could be configured.",
    hint: /SPRING_DATASOURCE_URL/,
  },
  {
    name: 'an exception in Ruby, whose name comes last',
    output: "app.rb:3:in `<main>': undefined local variable or method `ap' for main:Object (NameError)",
    error: "app.rb:3:in `<main>': undefined local variable or method `ap' for main:Object (NameError)",
  },
  {
    name: 'Ruby code that is no Ruby',
    output: "config.ru:2: syntax error, unexpected '}', expecting ']' (SyntaxError)",
    error: "config.ru:2: syntax error, unexpected '}', expecting ']' (SyntaxError)",
    hint: /^Correct line 2 of config\.ru/,
  },
  {
    name: 'a program for Python 2',
    output: `  File "/workspace/bot.py", line 8\n    print 'x'\nSyntaxError: Missing parentheses in call to 'print'. Did you mean print(...)?`,
    error: "bot.py line 8: SyntaxError: Missing parentheses in call to 'print'. Did you mean print(...)?",
    hint: /^This file is written for Python 2/,
  },
  {
    name: 'a port that is a text',
    output: "TypeError: 'str' object cannot be interpreted as an integer",
    error: "TypeError: 'str' object cannot be interpreted as an integer",
    hint: /write int\(os\.environ\["PORT"\]\)/,
  },
  {
    name: 'a shared library that a package of Python loads',
    output: 'ImportError: libGL.so.1: cannot open shared object file: No such file or directory',
    error: 'ImportError: libGL.so.1: cannot open shared object file: No such file or directory',
    hint: /^Name libgl1 and libglib2\.0-0t64 in an Aptfile/,
  },
  {
    name: 'an error whose text is in the next lines',
    output: `LookupError: \n${'*'.repeat(70)}\n  Resource stopwords not found.\n  Please use the NLTK Downloader`,
    error: 'LookupError: Resource stopwords not found.',
  },
  {
    name: 'a module whose package has another name',
    output: "ModuleNotFoundError: No module named 'MySQLdb'",
    error: "ModuleNotFoundError: No module named 'MySQLdb'",
    hint: /^Add mysqlclient, which has the module MySQLdb, to the requirements/,
  },
  {
    name: 'a file of the tool in another folder',
    output: "ModuleNotFoundError: No module named 'app'",
    error: "ModuleNotFoundError: No module named 'app'",
    hint: /^If app is a file of the tool, the command starts in another folder/,
  },
  {
    name: 'settings that are not in the repository',
    output: "ModuleNotFoundError: No module named 'config'",
    error: "ModuleNotFoundError: No module named 'config'",
    hint: /^If config\.py is a file of the tool, commit it\. If it has passwords/,
  },
  {
    name: 'a package that is too old for Python',
    output: "AttributeError: module 'collections' has no attribute 'MutableMapping'",
    error: "AttributeError: module 'collections' has no attribute 'MutableMapping'",
    hint: /no longer has this\. Ask for newer versions of the packages .* an older Python in \.python-version/,
  },
  {
    name: 'a file outside of the folders that a tool can write to',
    output: "PermissionError: [Errno 13] Permission denied: '/data/project/x/app.log'",
    error: "PermissionError: [Errno 13] Permission denied: '/data/project/x/app.log'",
    hint: /can write to \/tmp/,
  },
  {
    name: 'more memory than a process gets',
    output: 'RangeError: Failed to allocate memory\n    at Buffer.alloc',
    error: 'RangeError: Failed to allocate memory',
    hint: /ask for more memory/,
  },
  {
    name: 'python -m without the module',
    output:
      "/layers/x/bin/python: Error while finding module specification for 'textblob.download_corpora' (ModuleNotFoundError: No module named 'textblob')",
    error:
      "/layers/x/bin/python: Error while finding module specification for 'textblob.download_corpora' (ModuleNotFoundError: No module named 'textblob')",
    hint: /module textblob to the requirements/,
  },
  {
    name: 'a port below 1024',
    output: 'Error: listen EACCES: permission denied 0.0.0.0:80',
    error: 'Error: listen EACCES: permission denied 0.0.0.0:80',
    hint: /^A tool cannot listen on a port below 1024/,
  },
  {
    name: 'an error in a long line',
    output: `ValueError: ${'x'.repeat(3000)}`,
    error: `ValueError: ${'x'.repeat(147)}…`,
  },
  {
    name: 'none, if the output has no error',
    output: 'Listening on 8000\nError handling is on\nbye',
    error: null,
  },
] as readonly { name: string; output: string; error: string | null; hint?: RegExp | null }[]) {
  test(`the server finds the error in the last output of a process, and the right hint: ${name}`, () => {
    const lines = output.split('\n');
    const found = lastError(lines);
    assert.equal(found, error);
    if (hint !== null) assert.match(errorHint(found ?? '', false, lines) ?? '', hint);
    else assert.equal(errorHint(found ?? '', false, lines), null);
  });
}

test('on a server whose tools cannot write to their own folders, the hint about a file that cannot be written says so', () => {
  const error = "OSError: [Errno 30] Read-only file system: 'cache.txt'";
  assert.match(errorHint(error) ?? '', /^A running tool cannot write there\. It can write to \/tmp/);
  assert.match(errorHint(error, true) ?? '', /^On this server, a running tool cannot write to \/workspace,/);
  const late = notHealthy({ message: 'late', hint: '', hasNoPort: true }, 1000, [error], true);
  assert.match(late.hint ?? '', /^On this server,/);
});
