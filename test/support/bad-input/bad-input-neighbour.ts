import assert from 'node:assert/strict';
import { mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { DirectoryFile } from '../../../src/auth/file/directory-yaml.ts';
import { type Run, run, type TestServer, timeout } from '../server.ts';
import { webTool } from '../work-tree.ts';

const PASSWORD = 'correct horse';
const ADDRESS = '127.0.0.2';
const VISIT_LIMIT_MS = 20_000;

/** A second user with a key, a password and the live tool `quiet`, who keeps working at one door. */
export class Neighbour {
  readonly #server: TestServer;
  readonly #folder: string;
  readonly #environment: Record<string, string>;
  #pushes = 0;
  #page = '';

  private constructor(server: TestServer, folder: string, environment: Record<string, string>) {
    this.#server = server;
    this.#folder = folder;
    this.#environment = environment;
  }

  static async settle(server: TestServer, door: 'ssh' | 'http'): Promise<Neighbour> {
    const key = join(server.folder, 'neighbour');
    await execa('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'neighbour', '-f', key]);
    const file = new DirectoryFile(join(server.folder, 'data/directory.yaml'));
    const keyLines = [await readFile(`${key}.pub`, 'utf8')];
    await file.addUser({ name: 'neighbour', keyLines, password: PASSWORD });
    await file.addTool('quiet', ['neighbour']);
    const { GIT_SSH_COMMAND: ssh = '', ...rest } = server.clientEnvironment;
    const neighbour = new Neighbour(server, await mkdtemp(join(server.folder, 'neighbour-')), {
      ...rest,
      GIT_SSH_COMMAND: `${ssh.replace(/-i \S+/, `-i ${key}`)} -b ${ADDRESS}`,
    });
    const url =
      door === 'ssh'
        ? `ssh://neighbour@${server.ssh}/quiet.git`
        : `http://neighbour:${encodeURIComponent(PASSWORD)}@${server.http}/quiet.git`;
    await neighbour.#git('init', '--quiet', '--initial-branch=main');
    await neighbour.#git('remote', 'add', 'toolforge', url);
    await neighbour.deploy('undisturbed');
    return neighbour;
  }

  /** Pushes a new tag and visits the page of `quiet`. Throws if this takes longer than 20 s. */
  async push(): Promise<void> {
    this.#pushes += 1;
    await this.#inTime('push', 'toolforge', `main:refs/tags/push-${this.#pushes}`);
  }

  /** Lists the refs, asserts that the last pushed tag is there, and visits the page of `quiet`. */
  async list(): Promise<void> {
    const { stdout } = await this.#inTime('ls-remote', 'toolforge');
    const last = `\trefs/tags/push-${this.#pushes}`;
    assert.ok(
      stdout.split('\n').some((line) => line.endsWith(last)),
      stdout,
    );
  }

  /** Deploys a version of `quiet` that answers with `text`. */
  async deploy(text: string): Promise<void> {
    for (const [name, content] of Object.entries(webTool(text)))
      await writeFile(join(this.#folder, name), content);
    await this.#git('add', '--all');
    await this.#git('commit', '--quiet', '--message', text);
    await this.#git('push', 'toolforge', 'main');
    this.#page = text;
    assert.equal((await this.#server.get('quiet')).body, text);
  }

  async #inTime(...args: string[]): Promise<Run> {
    const visit = async () => {
      const ended = await this.#git(...args);
      assert.deepEqual(await this.#server.get('quiet'), { status: 200, body: this.#page });
      return ended;
    };
    return await Promise.race([visit(), timeout(VISIT_LIMIT_MS, `the neighbour was not served: ${args[0]}`)]);
  }

  async #git(...args: string[]): Promise<Run> {
    const ended = await run('git', args, { cwd: this.#folder, env: this.#environment });
    assert.equal(ended.exitCode, 0, `git ${args.join(' ')}: ${ended.stderr}`);
    return ended;
  }
}
