import { type ToolName, toolName } from '../core/names.ts';
import { SOURCE_PATH } from '../core/network/addresses.ts';
import type { GitService } from './git/served-repository.ts';

/** The destination of a request to the server's own host. */
export type Route =
  /**
   * Health checks. `live`: whether the process answers. `ready`: whether it can serve clients. `health`: whether it has
   * no faults.
   */
  | { readonly kind: 'live' | 'ready' | 'health' }
  | { readonly kind: 'landing' }
  | { readonly kind: 'style' }
  | { readonly kind: 'command' }
  | { readonly kind: 'source' }
  /** A browser's visit to the address of a repository. `name` is a valid name, but the tool may not exist. */
  | { readonly kind: 'repository'; readonly name: ToolName }
  /**
   * `advertisement` asks for the list of refs, `git` fetches or pushes. `name` is taken from the path, without `.git`,
   * and may be no valid name of a tool.
   */
  | { readonly kind: 'advertisement' | 'git'; readonly name: string; readonly service: GitService }
  | { readonly kind: 'wrong-method'; readonly allow: string }
  | { readonly kind: 'nothing' };

const PAGES: Readonly<Record<string, 'live' | 'ready' | 'health' | 'landing' | 'style'>> = {
  '/': 'landing',
  '/livez': 'live',
  '/readyz': 'ready',
  '/healthz': 'health',
  '/-/style.css': 'style',
};

/**
 * The route of a method and a request target. For git, only the three addresses of its smart protocol exist. The paths
 * of its dumb protocol (HEAD, objects, config, hooks) are `nothing`, like all unknown paths.
 *
 * @see https://git-scm.com/docs/http-protocol
 */
export function routeOf(method: string, target: string): Route {
  const { path, query } = split(target);
  const page = PAGES[path];
  if (page !== undefined) return allow(method, ['GET', 'HEAD'], { kind: page });
  if (path === '/-/command') return allow(method, ['POST'], { kind: 'command' });
  if (path === SOURCE_PATH) return allow(method, ['GET'], { kind: 'source' });
  const repository = toolName(/^\/([^/]+)\.git\/?$/.exec(path)?.[1] ?? '');
  const isVisit = method === 'GET' || method === 'HEAD';
  if (repository !== null && isVisit) return { kind: 'repository', name: repository };
  const git = /^\/([^/]+)\/(info\/refs|git-(?:upload|receive)-pack)$/.exec(path);
  if (git === null) return { kind: 'nothing' };
  const name = (git[1] ?? '').replace(/\.git$/, '');
  if (git[2] !== 'info/refs') {
    const service = git[2] === 'git-receive-pack' ? 'receive-pack' : 'upload-pack';
    return allow(method, ['POST'], { kind: 'git', name, service });
  }
  const services = new URLSearchParams(query).getAll('service');
  if (services.length !== 1) return { kind: 'nothing' };
  if (services[0] !== 'git-upload-pack' && services[0] !== 'git-receive-pack') return { kind: 'nothing' };
  const service = services[0] === 'git-receive-pack' ? 'receive-pack' : 'upload-pack';
  return allow(method, ['GET'], { kind: 'advertisement', name, service });
}

/** The path for the log, without query, user information and host. */
export function pathOf(target: string): string {
  return split(target).path;
}

/** Splits a request target. The host of a target in absolute form (RFC 9112 section 3.2.2) is ignored. */
function split(target: string): { path: string; query: string } {
  if (!target.startsWith('/')) {
    const url = /^https?:\/\//i.test(target) ? URL.parse(target) : null;
    return { path: url?.pathname ?? '*', query: url?.search.slice(1) ?? '' };
  }
  const mark = target.indexOf('?');
  return mark < 0
    ? { path: target, query: '' }
    : { path: target.slice(0, mark), query: target.slice(mark + 1) };
}

function allow(method: string, methods: readonly string[], route: Route): Route {
  return methods.includes(method) ? route : { kind: 'wrong-method', allow: methods.join(', ') };
}
