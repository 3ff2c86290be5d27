import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { DirectoryFile } from '../../../src/auth/file/directory-yaml.ts';
import type { TestServer } from '../server.ts';
import { liveTool, type Remote, WorkTree, webTool } from '../work-tree.ts';
import type { Target } from './attacks.ts';
import { OrdinaryTraffic } from './ordinary.ts';
import { hostileTool } from './tool.ts';

const MALLORY = 'mallory';
/** More tools than can be deployed at once. */
const SLOW_TOOLS = ['slow-1', 'slow-2', 'slow-3', 'slow-4'];

/** One server with tools of an ordinary person and of a hostile person. */
export interface Neighbourhood {
  readonly ordinary: OrdinaryTraffic;
  readonly target: Target;
}

/** Makes the hostile person and all tools. @param seconds - Each attack ends by itself after this time. */
export async function makeNeighbourhood(server: TestServer, seconds: number): Promise<Neighbourhood> {
  const page = await liveTool(server, 'page');
  const pushed = await liveTool(server, 'pushed');
  const mallory = await hostilePerson(server);
  const directory = new DirectoryFile(join(server.folder, 'data/directory.yaml'));
  await directory.addTool('hostile', [MALLORY]);
  await setLongVars(server, mallory, 'hostile');
  const hostile = await WorkTree.create(mallory, 'ssh', 'hostile');
  await hostile.commit('one', hostileTool);
  const first = await hostile.push();
  if (first.exitCode !== 0) throw new Error(first.stderr);
  const slow: { tool: string; folder: string }[] = [];
  for (const tool of SLOW_TOOLS) {
    await directory.addTool(tool, [MALLORY]);
    const tree = await WorkTree.create(mallory, 'ssh', tool);
    await tree.commit('one', webTool('one', 'sleep 60'));
    slow.push({ tool, folder: tree.folder });
  }
  const target = {
    httpPort: Number(server.http.split(':')[1]),
    sshPort: Number(server.ssh.split(':')[1]),
    tool: 'hostile',
    user: MALLORY,
    clientEnvironment: mallory.clientEnvironment,
    slow,
    seconds,
  };
  return { ordinary: new OrdinaryTraffic(server, { page: page.name, pushed }), target };
}

async function hostilePerson(server: TestServer): Promise<Remote> {
  const folder = join(server.folder, 'home-of-mallory');
  await mkdir(folder);
  const key = join(folder, 'id_ed25519');
  await execa('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', key, '-C', MALLORY]);
  const keyLines = [await readFile(`${key}.pub`, 'utf8')];
  await new DirectoryFile(join(server.folder, 'data/directory.yaml')).addUser({ name: MALLORY, keyLines });
  const environment = server.clientEnvironment;
  const own = join(server.folder, 'home/.ssh/id_ed25519');
  const ssh = (environment['GIT_SSH_COMMAND'] ?? '').replace(own, key);
  return {
    folder: server.folder,
    clientEnvironment: { ...environment, HOME: folder, GIT_SSH_COMMAND: ssh },
    remote: (_door, tool) => `ssh://${MALLORY}@${server.ssh}/${tool}.git`,
  };
}

/** Sets ten config vars of 32 kB. Their many lines begin like the lines that the hostile tool prints at `/flood`. */
async function setLongVars(server: TestServer, { clientEnvironment }: Remote, tool: string): Promise<void> {
  const [host = '', port = ''] = server.ssh.split(':');
  const [ssh = '', ...words] = (clientEnvironment['GIT_SSH_COMMAND'] ?? '').split(' ');
  for (let index = 0; index < 10; index += 1) {
    const lines = Array.from({ length: 1000 }, (_, line) => `the same beginning for all ${index}.${line}`);
    const input = lines.join('\n').slice(0, 32_000);
    const asked = [...words, '-p', port, `${MALLORY}@${host}`, `config set ${tool} KEY${index} -`];
    await execa(ssh, asked, { env: clientEnvironment, input });
  }
}
