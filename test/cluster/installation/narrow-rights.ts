import { readFile, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { apply, kubectl, namespace } from './kubectl.ts';

const manifests = resolve(import.meta.dirname, '../../../deploy/kubernetes');

interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
}

/** Gives a server on this machine only the rights of deploy/kubernetes. No other test uses the names of its objects. */
export class NarrowRights implements AsyncDisposable {
  /** The path of a kubeconfig. */
  readonly kubeconfig: string;
  readonly #home: string;
  readonly #objects: readonly Manifest[];

  private constructor(kubeconfig: string, home: string, objects: readonly Manifest[]) {
    this.kubeconfig = kubeconfig;
    this.#home = home;
    this.#objects = objects;
  }

  /** @param folder - The folder for the kubeconfig. */
  static async create(folder: string): Promise<NarrowRights> {
    const home = `narrow-${process.pid}`;
    const objects = await objectsOf('rights.yaml', home);
    await apply(namespace(home));
    await apply(...objects.filter(({ metadata }) => (metadata.namespace ?? home) === home));
    const token = await kubectl('-n', home, 'create', 'token', 'toolforge-push', '--duration=2h');
    const config = JSON.parse(await kubectl('config', 'view', '--minify', '--raw', '-o', 'json'));
    config.users[0].user = { token };
    const kubeconfig = join(folder, 'narrow-kubeconfig.json');
    await writeFile(kubeconfig, JSON.stringify(config), { mode: 0o600 });
    return new NarrowRights(kubeconfig, home, objects);
  }

  /** Lets the server build in a namespace. */
  async letBuild(builds: string): Promise<void> {
    const meant = this.#objects.filter(({ metadata }) => metadata.namespace === 'toolforge-push-builds');
    await apply(...meant.map((one) => ({ ...one, metadata: { ...one.metadata, namespace: builds } })));
  }

  /** Lets the server run a tool, like `kubectl apply -f tool/rights.yaml`. */
  async letRun(tool: string): Promise<void> {
    const objects = await objectsOf('tool/rights.yaml', this.#home);
    await apply(...objects.map((one) => ({ ...one, metadata: { ...one.metadata, namespace: tool } })));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { kind, metadata } of this.#objects) {
      if (kind.startsWith('Cluster')) await kubectl('delete', kind, metadata.name, '--ignore-not-found');
    }
    await kubectl('delete', 'namespace', this.#home, '--wait=false');
    await rm(this.kubeconfig);
  }
}

async function objectsOf(file: string, home: string): Promise<Manifest[]> {
  const text = await readFile(join(manifests, file), 'utf8');
  const named = text
    .replaceAll('namespace: toolforge-push\n', `namespace: ${home}\n`)
    .replaceAll(/name: (toolforge-push-(?:tools|looks))\n/g, `name: ${home}-$1\n`);
  return parseAllDocuments(named).map((one) => one.toJS() as Manifest);
}
