import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { DeployError } from '../../../../src/core/errors.ts';
import { ABuilder, registryEnvironment } from '../../support/a-builder.ts';
import { buildFiles } from '../node/build-files.ts';

let builder: ABuilder;
before(async () => {
  builder = await ABuilder.open({ limits: { build_environment: registryEnvironment } });
});
after(async () => builder[Symbol.asyncDispose]());

const SETUP =
  'from setuptools import Extension, setup\nsetup(name="fast", version="1", ext_modules=[Extension("fast", ["fast.c"])])\n';

for (const { what, files, reason, hint } of [
  {
    what: 'a package that does not exist',
    files: { 'requirements.txt': 'bottle\ntoolforge-push-none==1\n' },
    reason: /^pip exited 1: toolforge-push-none was not found in the package registry/,
    hint: /^Check the name and the version of this package/,
  },
  {
    what: 'two requirements that exclude each other',
    files: { 'requirements.txt': 'flask==3.0.0\nwerkzeug==1.0.0\n' },
    reason: /^pip exited 1: flask==3\.0\.0 depends on werkzeug>=3\.0\.0 and .*you require werkzeug==1\.0\.0$/,
    hint: /^Two packages need different versions/,
  },
  {
    what: 'a line that is not a requirement',
    files: { 'requirements.txt': 'bottle\nthis is not one\n' },
    reason: /^pip exited 2: `requirements\.txt`: “this is not one” is not a requirement/,
  },
  {
    what: 'an extension in C that does not compile',
    files: {
      'requirements.txt': './fast\n',
      'fast/setup.py': SETUP,
      'fast/fast.c': '#include <Python.h>\nint answer(void) { return nothing; }\n',
    },
    reason: /^pip exited 1: Failed to build `fast @ .*`: fast\.c:2:\d+: error: .nothing. undeclared/,
  },
  {
    what: 'an extension in C whose header is missing',
    files: {
      'requirements.txt': './fast\n',
      'fast/setup.py': SETUP,
      'fast/fast.c': '#include <no_such.h>\n',
    },
    reason:
      /^pip exited 1: Failed to build `fast @ .*`: fast\.c:1:\d+: fatal error: no_such\.h: No such file/,
    hint: /^A package is compiled and needs no_such\.h\. Name the Debian package/,
  },
  {
    what: 'a setup.py that raises an exception',
    files: { 'setup.py': 'raise RuntimeError("no luck")\n' },
    reason: /^pip exited 1: The build backend returned an error: RuntimeError: no luck$/,
  },
  {
    what: 'a poetry.lock that is cut off',
    files: {
      'pyproject.toml': '[tool.poetry]\nname = "a"\nversion = "1"\npackage-mode = false\n',
      'poetry.lock': 'package = [\n',
    },
    reason:
      /^poetry exited 1: poetry\.lock is not valid TOML\. Run `poetry lock`, and commit poetry\.lock\.$/,
  },
] as { what: string; files: Record<string, string>; reason: RegExp; hint?: RegExp }[]) {
  test(`a Python tool that cannot be built is refused with the cause and a hint: ${what}`, async () => {
    const tool = { Procfile: 'web: python3 -m http.server $PORT\n', ...files };
    await assert.rejects(buildFiles(builder, tool), (error: unknown) => {
      assert.ok(error instanceof DeployError, String(error));
      assert.match(error.message, reason, builder.said);
      assert.match(error.hint, hint ?? /commit and push again\.$/);
      return true;
    });
  });
}
