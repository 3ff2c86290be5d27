import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';

/** @see https://github.com/goharbor/harbor/blob/main/src/server/v2.0/handler/project.go */
const PROJECT_NAME = /^[a-z0-9]+(?:[._-][a-z0-9]+)*$/;

interface Project {
  readonly id: number;
  readonly hard: number;
  used: number;
}

/**
 * A small server that answers requests for projects, quotas and robots as Harbor's published interface says.
 *
 * @see https://github.com/goharbor/harbor/blob/main/api/v2.0/swagger.yaml
 */
export class AHarbor implements AsyncDisposable {
  readonly projects = new Map<string, Project>();
  /** The names of the repositories of each project, without the project. */
  readonly repositories = new Map<string, Set<string>>();
  /** The existing robots by number, each with the body of the request that made it. */
  readonly robots = new Map<number, Readonly<Record<string, unknown>>>();
  readonly asked: string[] = [];
  /** If not null, the status of every answer. */
  always: number | null = null;
  mayReadQuotas = true;
  readonly #server: Server;
  #numbers = 0;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async open(): Promise<AHarbor> {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const harbor = new AHarbor(server);
    server.on('request', (request, response) => {
      void harbor.#answer(request).then(([status, body]) => {
        response.writeHead(status, { 'Content-Type': 'application/json' });
        response.end(body === null ? '' : JSON.stringify(body));
      });
    });
    return harbor;
  }

  readonly credentials = { user: 'robot$push', password: 'harbor-password' };

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async #answer(request: IncomingMessage): Promise<[status: number, body: unknown]> {
    const { method = '', headers } = request;
    const url = new URL(request.url ?? '', this.url);
    const path = url.pathname.replace(/^\/api\/v2\.0/, '');
    this.asked.push(`${method} ${path}`);
    if (this.always !== null) return [this.always, { errors: [{ code: 'X', message: 'as the test says' }] }];
    const { user, password } = this.credentials;
    if (headers.authorization !== `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`) {
      return [401, { errors: [{ code: 'UNAUTHORIZED', message: 'unauthorized' }] }];
    }
    const [, kind, name = ''] = path.split('/');
    if (kind === 'projects' && method === 'GET') {
      const known = headers['x-is-resource-name'] === 'true' ? this.projects.get(name) : undefined;
      return known === undefined ? [404, { errors: [] }] : [200, { project_id: known.id, name }];
    }
    if (kind === 'projects' && method === 'POST') {
      const body = (await json(request)) as { project_name: string; storage_limit: number };
      if (!PROJECT_NAME.test(body.project_name))
        return [400, { errors: [{ code: 'BAD_REQUEST', message: 'project name is not in lower case' }] }];
      if (this.projects.has(body.project_name)) return [409, { errors: [{ code: 'CONFLICT', message: '' }] }];
      this.#numbers += 1;
      this.projects.set(body.project_name, { id: this.#numbers, hard: body.storage_limit, used: 0 });
      return [201, null];
    }
    if (kind === 'projects' && method === 'DELETE') {
      const [, , , repositories, repository = ''] = path.split('/');
      const known = this.repositories.get(name) ?? new Set();
      if (repositories !== undefined) return known.delete(repository) ? [200, null] : [404, { errors: [] }];
      if (known.size > 0) return [412, { errors: [{ code: 'PRECONDITION', message: 'not empty' }] }];
      return this.projects.delete(name) ? [200, null] : [404, { errors: [] }];
    }
    if (kind === 'quotas') {
      if (!this.mayReadQuotas) return [403, { errors: [{ code: 'FORBIDDEN', message: 'forbidden' }] }];
      const id = Number(url.searchParams.get('reference_id'));
      const found = [...this.projects.values()].filter((project) => project.id === id);
      return [200, found.map(({ hard, used }) => ({ id, hard: { storage: hard }, used: { storage: used } }))];
    }
    if (kind === 'robots' && method === 'POST') {
      const body = (await json(request)) as { name: string; permissions: [{ namespace: string }] };
      this.#numbers += 1;
      this.robots.set(this.#numbers, body);
      const full = `robot$${body.permissions[0].namespace}+${body.name}`;
      return [201, { id: this.#numbers, name: full, secret: 'secret-of-the-robot', expires_at: 0 }];
    }
    if (kind === 'robots' && method === 'DELETE') {
      return this.robots.delete(Number(name)) ? [200, null] : [404, { errors: [] }];
    }
    return [404, { errors: [] }];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
  }
}
