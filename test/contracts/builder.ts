import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import {
  type Builder,
  type BuildRequest,
  BuildResumesLater,
  ResumeLater,
} from '../../src/builder/builder.ts';
import { DeployError } from '../../src/core/errors.ts';
import { commitId, toolName } from '../../src/core/names.ts';
import { progressTo } from '../../src/core/progress.ts';

/** What the suite needs of a back end: a builder with the product's buildpacks, and nothing built yet. */
export interface BuilderUnderTest extends AsyncDisposable {
  readonly builder: Builder;
}

/** The texts of files by their paths. */
export type Source = Readonly<Record<string, string>>;

/** Returns a `checkOut` that writes the files of `source`. */
export function checkOut(source: Source): BuildRequest['checkOut'] {
  return async (folder) => {
    for (const [path, text] of Object.entries(source)) {
      await mkdir(dirname(join(folder, path)), { recursive: true });
      await writeFile(join(folder, path), text);
    }
  };
}

/** False for a line that a build prints only because it waits or is slow, which depends on the load of the machine. */
export function isNoWait(line: string): boolean {
  return !/^ {7}(waiting|still running): /.test(line);
}

function request(id: string, source: Source, change: Partial<BuildRequest> = {}): BuildRequest {
  const tool = toolName('wikibot');
  const commit = commitId('ab'.repeat(20));
  assert.ok(tool !== null && commit !== null);
  return {
    id,
    tool,
    toolNumber: 1,
    commit,
    configVars: {},
    useCache: true,
    checkOut: checkOut(source),
    ...change,
  };
}

const worker: Source = {
  'app.py': 'print("hello")\n',
  Procfile: 'worker: python3 app.py\nweb: python3 -m http.server $PORT\n',
};

/**
 * The promises of every Builder. None of these builds needs a package registry.
 *
 * @param outlivesServer - Whether builds go on when the server is stopped.
 */
export function builderContract(
  name: string,
  makeBuilder: () => Promise<BuilderUnderTest>,
  { outlivesServer }: { readonly outlivesServer: boolean },
): void {
  const promise = (text: string, run: (builder: Builder) => Promise<void>) =>
    test(`${name}: ${text}`, async () => {
      await using underTest = await makeBuilder();
      await run(underTest.builder);
    });
  const silent = progressTo(() => {});
  const signal = new AbortController().signal;

  promise('a build gives the processes of the Procfile, and web is the default', async (builder) => {
    const artifact = await builder.build(request('one', worker), silent, signal);
    assert.equal(artifact.id, 'one');
    assert.deepEqual(
      artifact.processes.map((process) => [process.type, process.isDefault]),
      [
        ['web', true],
        ['worker', false],
      ],
    );
    assert.ok(artifact.processes[1]?.command.at(-1)?.includes('python3 app.py'));
    assert.ok(artifact.bytes > 0);
  });

  promise(
    'an artifact lists its buildpacks, each with its id, a space and the installed version',
    async (builder) => {
      const artifact = await builder.build(request('one', worker), silent, signal);
      assert.match(artifact.buildpacks[0] ?? '', /^toolforge\/python 3\.\d+\.\d+$/);
      assert.ok(artifact.buildpacks.some((entry) => entry.split(' ')[0] === 'toolforge/procfile'));
    },
  );

  promise('the health check path comes from service.template', async (builder) => {
    const source = { ...worker, 'service.template': 'health-check-path: /healthz\n' };
    const artifact = await builder.build(request('one', source), silent, signal);
    assert.equal(artifact.service.healthCheckPath, '/healthz');
  });

  const scheduled = (run: string) =>
    `components:\n  nightly:\n    component_type: scheduled\n    run: {${run}}\n`;

  promise('a scheduled component of toolforge.yaml is a process with a schedule', async (builder) => {
    const own = scheduled('command: "python3 app.py --all", schedule: "0 3 * * sun", timeout: 60');
    const artifact = await builder.build(
      request('one', { ...worker, 'toolforge.yaml': own }),
      silent,
      signal,
    );
    const nightly = artifact.processes.find(({ type }) => type === 'nightly');
    assert.deepEqual(nightly, {
      type: 'nightly',
      command: ['bash', '-c', 'python3 app.py --all'],
      isDefault: false,
      launchedAs: null,
      schedule: { text: '0 3 * * sun', cron: '0 3 * * 0', retry: 0, timeoutSeconds: 60 },
    });
    assert.deepEqual(
      artifact.processes.map(({ type, schedule, replicas }) => [type, schedule !== undefined, replicas]),
      [
        ['nightly', true, undefined],
        ['web', false, undefined],
        ['worker', false, 0],
      ],
    );
  });

  promise(
    'a tool needs no web process; a scheduled component can run the command of a process type of the Procfile',
    async (builder) => {
      const named = scheduled('command: worker, schedule: "@daily"');
      const source = { 'app.py': '', Procfile: 'worker: python3 app.py\n', 'toolforge.yaml': named };
      const artifact = await builder.build(request('one', source), silent, signal);
      assert.deepEqual(
        artifact.processes.map(({ type, launchedAs, schedule }) => [type, launchedAs, schedule?.text]),
        [
          ['nightly', 'worker', '@daily'],
          ['worker', undefined, undefined],
        ],
      );
      assert.equal(artifact.processes[0]?.command.at(-1), 'python3 app.py');
    },
  );

  promise(
    'a schedule that cannot be read fails the build, and the error names the file and the component',
    async (builder) => {
      const bad = scheduled('command: worker, schedule: "61 * * * *"');
      await assert.rejects(
        builder.build(request('one', { ...worker, 'toolforge.yaml': bad }), silent, signal),
        (error) =>
          error instanceof DeployError &&
          error.code === 'BUILD_TOOLFORGE_YAML' &&
          /61 \* \* \* \* of nightly in toolforge\.yaml .*minute/.test(error.message),
      );
    },
  );

  promise(
    'an artifact has the config vars that env of app.json sets, and the names of those whose values are to be generated',
    async (builder) => {
      const env = { GREETING: 'hello', SECRET_KEY: { generator: 'secret' }, HINT: { required: false } };
      const artifact = await builder.build(
        request('one', { ...worker, 'app.json': JSON.stringify({ env }) }),
        silent,
        signal,
      );
      assert.deepEqual([artifact.variables, artifact.secrets], [{ GREETING: 'hello' }, ['SECRET_KEY']]);
    },
  );

  promise('two builds of the same source give two artifacts', async (builder) => {
    const first = await builder.build(request('one', worker), silent, signal);
    const second = await builder.build(request('two', worker), silent, signal);
    assert.notEqual(first.reference, second.reference);
    assert.deepEqual(first.processes, second.processes);
  });

  promise('a source that no buildpack detects is refused with the names of its files', async (builder) => {
    await assert.rejects(
      builder.build(request('one', { 'notes.txt': 'x' }), silent, signal),
      (error) =>
        error instanceof DeployError && error.code === 'NO_BUILDPACK' && error.message.includes('notes.txt'),
    );
  });

  promise('a build with nothing to run is refused and says to add a Procfile', async (builder) => {
    await assert.rejects(
      builder.build(request('one', { 'app.py': '' }), silent, signal),
      (error) =>
        error instanceof DeployError && error.code === 'NO_PROCESS' && error.hint.includes('Procfile'),
    );
  });

  promise(
    'a build is refused if more process types run all the time than process_types allows; other process types do not count',
    async (builder) => {
      const types = Array.from({ length: 21 }, (_, index) => `p${index}`);
      const Procfile = ['release: true', ...types.map((type) => `${type}: sleep 9`)].join('\n');
      const running = (count: number) => ({
        Procfile,
        'app.json': JSON.stringify({
          formation: Object.fromEntries(types.slice(0, count).map((type) => [type, { quantity: 1 }])),
        }),
      });
      await assert.rejects(builder.build(request('one', running(21)), silent, signal), {
        code: 'TOO_MANY_PROCESSES',
        message: /^the tool has 21 process types that run all the time, but at most 20 are allowed/,
      });
      const { processes } = await builder.build(request('one', running(20)), silent, signal);
      assert.equal(processes.filter(({ replicas }) => replicas === 1).length, 20);
    },
  );

  promise(
    'if the Procfile runs a program that nothing provides, the build fails and names the program, its line and what to add',
    async (builder) => {
      const source = { ...worker, Procfile: 'worker: python3 app.py\nweb: gunicorn app:app\n' };
      await assert.rejects(builder.build(request('one', source), silent, signal), {
        code: 'BUILD_FAILED',
        message:
          'procfile exited 1: web runs gunicorn (line 2 of the Procfile), but no requirements install it. Add gunicorn to requirements.txt.',
      });
    },
  );

  promise(
    'the error of a failed build names the buildpack that failed and its exit status',
    async (builder) => {
      await assert.rejects(
        builder.build(request('one', { Procfile: '# nothing\n' }), silent, signal),
        (error) =>
          error instanceof DeployError &&
          error.code === 'BUILD_FAILED' &&
          error.message.startsWith('procfile exited 1'),
      );
    },
  );

  promise('after a failed build, the next build works', async (builder) => {
    await assert.rejects(builder.build(request('one', { Procfile: '# nothing\n' }), silent, signal));
    const artifact = await builder.build(request('one', worker), silent, signal);
    assert.equal(artifact.processes.length, 2);
  });

  promise('a build that was cancelled before it began ends with an AbortError', async (builder) => {
    const cancelled = AbortSignal.abort();
    await assert.rejects(builder.build(request('one', worker), silent, cancelled), { name: 'AbortError' });
  });

  promise(
    'a build that is cancelled while it runs ends with an AbortError, and the next build works',
    async (builder) => {
      const cancel = new AbortController();
      const cancelling = progressTo((text) => {
        if (text.startsWith('-----> Building')) cancel.abort();
      });
      const cancelled = builder.build(request('one', worker), cancelling, cancel.signal);
      await assert.rejects(cancelled, { name: 'AbortError' });
      const artifact = await builder.build(request('two', worker), silent, signal);
      assert.equal(artifact.id, 'two');
    },
  );

  promise('the output of a build does not show values of config vars', async (builder) => {
    let said = '';
    const listening = progressTo((text) => {
      said += text;
    });
    const source = { ...worker, Procfile: 'web: python3 app.py --key s3cr3t-of-the-tool\n' };
    const configVars = { API_KEY: 's3cr3t-of-the-tool' };
    await builder.build(request('one', source, { configVars }), listening, signal);
    assert.match(said, /--key \[config var API_KEY\]/);
    assert.doesNotMatch(said, /s3cr3t/);
  });

  promise('the push shows the detected buildpacks, and then their output', async (builder) => {
    const all: string[] = [];
    await builder.build(
      request('one', worker),
      progressTo((text) => all.push(text)),
      signal,
    );
    const said = all.filter(isNoWait);
    const steps = said.filter((text) => text.startsWith('-----> ')).map((text) => text.trim());
    assert.deepEqual(steps.slice(0, 2), ['-----> Detecting buildpacks', '-----> Building (limit 10 min)']);
    assert.match(said[1] ?? '', /^ {7}python 3\.\d+ · Procfile \(web worker\)\n$/);
    assert.match(steps[2] ?? '', /^-----> Using Python 3\.\d+\.\d+$/);
  });

  promise(
    'removing an artifact twice, or an artifact that never existed, is not an error',
    async (builder) => {
      const { tool } = request('one', worker);
      await builder.build(request('one', worker), silent, signal);
      await builder.remove(tool, 'one');
      await builder.remove(tool, 'one');
      await builder.remove(tool, 'never');
    },
  );

  promise(
    'if the builder has forgotten a tool, the artifacts of this tool can no longer be promoted to another tool',
    async (builder) => {
      const { tool: from } = request('one', worker);
      const artifact = await builder.build(request('one', worker), silent, signal);
      await builder.forget(from);
      await builder.forget(from);
      const tool = toolName('other');
      assert.ok(tool !== null);
      const adopting = builder.adopt({ id: 'two', tool, toolNumber: 2, from }, artifact, signal);
      // If builds are not isolated, no artifact can be promoted at all.
      await assert.rejects(adopting, { code: /^(ARTIFACT_GONE|NO_PROMOTION)$/ });
    },
  );

  promise('after a clean-up, a removed artifact can be built again', async (builder) => {
    const { tool } = request('one', worker);
    await builder.build(request('one', worker), silent, signal);
    await builder.build(request('two', worker), silent, signal);
    await builder.cleanUp(tool, (id) => (id === 'two' ? 'keep' : 'remove'), new Set());
    await builder.build(request('one', worker), silent, signal);
    await builder.remove(tool, 'two');
  });

  /** Starts a build, and aborts it once it runs, as a stop of the server does. @returns what was thrown and printed. */
  const stopped = async (builder: Builder, build: BuildRequest): Promise<[unknown, string]> => {
    const stop = new AbortController();
    let said = '';
    const stopping = progressTo((text) => {
      said += text;
      if (text.startsWith('-----> Building')) stop.abort(new ResumeLater());
    });
    const error = await builder.build(build, stopping, stop.signal).then(
      () => null,
      (thrown: unknown) => thrown,
    );
    return [error, said];
  };

  if (outlivesServer) {
    promise(
      'a build whose server is stopped continues, and a resume gives its artifact and its output from the first line',
      async (builder) => {
        const build = request('one', worker);
        const [error, said] = await stopped(builder, build);
        assert.ok(error instanceof BuildResumesLater, String(error));
        const resumable = await builder.resumable(build.tool);
        assert.deepEqual([...resumable], ['one']);
        await builder.cleanUp(build.tool, () => 'remove', resumable);
        let again = '';
        const telling = progressTo((text) => {
          again += text;
        });
        const artifact = await builder.resume(build, telling, signal);
        assert.equal(artifact.id, 'one');
        assert.equal(artifact.processes.length, 2);
        assert.ok(again.startsWith(said), again);
        assert.equal((await builder.resumable(build.tool)).size, 0);
        await assert.rejects(builder.resume(build, silent, signal), { code: 'BUILD_GONE' });
      },
    );

    promise(
      'a clean-up removes a build that continued without a server and that nobody resumes',
      async (builder) => {
        const build = request('one', worker);
        await stopped(builder, build);
        await builder.cleanUp(build.tool, () => 'remove', new Set());
        assert.equal((await builder.resumable(build.tool)).size, 0);
      },
    );
  } else {
    promise(
      'a build whose server is stopped ends with an AbortError and cannot be resumed',
      async (builder) => {
        const build = request('one', worker);
        const [error] = await stopped(builder, build);
        assert.ok(error instanceof Error && error.name === 'AbortError', String(error));
        assert.equal((await builder.resumable(build.tool)).size, 0);
        await assert.rejects(builder.resume(build, silent, signal));
      },
    );
  }

  promise('a build that has ended is not listed as resumable', async (builder) => {
    const build = request('one', worker);
    await builder.build(build, silent, signal);
    assert.equal((await builder.resumable(build.tool)).size, 0);
  });
}
