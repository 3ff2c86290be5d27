import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { DeployError, systemCode } from '../../core/errors.ts';
import type { FindCredentials } from './registry-credentials.ts';

export interface RegistryOptions {
  /** The host of the registry, as references to its images name it. */
  readonly host: string;
  /** True to use HTTP without TLS, for a registry in the cluster or on this machine. */
  readonly isPlainHttp: boolean;
  readonly credentials: FindCredentials;
  /**
   * How many milliseconds one request may take, until the last byte of its answer has arrived. Default 30,000. The
   * download or upload of a layer may take `LAYER_TIMES` as long.
   */
  readonly timeoutMs?: number;
}

export interface RegistryCall {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'DELETE';
  /** The path below `/v2/`. */
  readonly path: string;
  /**
   * The rights that the request needs, such as `repository:NAME:pull,push`, separated by spaces. Empty if it needs only
   * a login.
   */
  readonly scope: string;
  readonly headers?: Readonly<Record<string, string>>;
  /**
   * The body of the request: of a layer, a stream. A stream can be sent only once, so a request with a stream is not
   * retried, not even after a login. It must have a scope for which an earlier request has already logged in.
   */
  readonly body?: string | ReadableStream<Uint8Array>;
  readonly signal: AbortSignal;
}

const tokenAnswer = z.object({ token: z.string().optional(), access_token: z.string().optional() });

const LAYER_TIMES = 20;

/** Milliseconds before each retry after a 429, a 5xx or no answer. */
const PAUSES_MS = [200, 1000];

/**
 * Sends requests to one registry. Logs in with Basic or with a token, as the registry demands, and retries after
 * temporary failures.
 *
 * @see https://distribution.github.io/distribution/spec/auth/token/
 */
export class RegistryRequests {
  readonly #options: RegistryOptions;
  readonly #origin: string;
  /** The Authorization header of the last login for each scope. */
  readonly #authorizations = new Map<string, string>();

  constructor(options: RegistryOptions) {
    this.#options = options;
    // Docker Hub serves its API under another host name than the one in the names of images.
    const host = options.host === 'docker.io' ? 'registry-1.docker.io' : options.host;
    this.#origin = `${options.isPlainHttp ? 'http' : 'https'}://${host}`;
  }

  /**
   * Returns the answer of the registry.
   *
   * @throws DeployError `REGISTRY_REFUSED` if the status is 401 or 403; `REGISTRY_UNAVAILABLE` if it is 429 or 5xx, or
   * if there is no answer.
   */
  async send(call: RegistryCall): Promise<Response> {
    const first = await this.#patiently(call);
    if (first.status !== 401) return this.#allowed(first, call);
    await first.body?.cancel();
    const challenge = first.headers.get('www-authenticate') ?? '';
    const authorization = await this.#logIn(challenge, call);
    if (authorization === null) throw this.#refused(call, 401);
    this.#authorizations.set(call.scope, authorization);
    return this.#allowed(await this.#patiently(call), call);
  }

  async #patiently(call: RegistryCall): Promise<Response> {
    for (const pauseMs of call.body instanceof ReadableStream ? [] : PAUSES_MS) {
      try {
        const answer = await this.#once(call);
        if (!isForAMoment(answer)) return answer;
        await answer.body?.cancel();
      } catch (error) {
        call.signal.throwIfAborted();
        // If the certificate is not trusted, a pause does not help. So make the last attempt without a pause.
        if (/CERT|SELF_SIGNED/.test(codeOf(error) ?? '')) break;
      }
      await sleep(pauseMs, undefined, { signal: call.signal });
    }
    try {
      const answer = await this.#once(call);
      if (!isForAMoment(answer)) return answer;
      await answer.body?.cancel();
      throw this.#unavailable(`it answers ${answer.status}`);
    } catch (cause) {
      call.signal.throwIfAborted();
      if (cause instanceof DeployError) throw cause;
      throw this.#unavailable(whyOf(cause), cause);
    }
  }

  async #once({ method, path, scope, headers, body, signal }: RegistryCall): Promise<Response> {
    const authorization = this.#authorizations.get(scope);
    const isLayer = body instanceof ReadableStream || (method === 'GET' && /\/blobs\/[^/]+$/.test(path));
    const limitMs = (this.#options.timeoutMs ?? 30_000) * (isLayer ? LAYER_TIMES : 1);
    return await fetch(`${this.#origin}/v2/${path}`, {
      method,
      headers: { ...headers, ...(authorization === undefined ? {} : { Authorization: authorization }) },
      ...(body === undefined ? {} : { body, duplex: 'half' as const }),
      signal: AbortSignal.any([signal, AbortSignal.timeout(limitMs)]),
    });
  }

  async #logIn(challenge: string, { scope, signal }: RegistryCall): Promise<string | null> {
    const credentials = await this.#options.credentials(this.#options.host);
    const basic =
      credentials === null
        ? null
        : `Basic ${Buffer.from(`${credentials.user}:${credentials.password}`).toString('base64')}`;
    if (!/^bearer /i.test(challenge)) return basic;
    const fields = Object.fromEntries(
      Array.from(challenge.matchAll(/(\w+)="([^"]*)"/g), ([, name = '', value = '']) => [name, value]),
    );
    const realm = URL.parse(fields['realm'] ?? '');
    // Send the password without TLS only if the registry itself is used without TLS (`isPlainHttp`). A registry with
    // TLS may not name a token server without TLS.
    const isSafe = realm?.protocol === 'https:' || (realm?.protocol === 'http:' && this.#options.isPlainHttp);
    if (realm === null || !isSafe) return null;
    if (fields['service'] !== undefined) realm.searchParams.set('service', fields['service']);
    if (scope !== '') for (const one of scope.split(' ')) realm.searchParams.append('scope', one);
    try {
      const answer = await fetch(realm, {
        headers: basic === null ? {} : { Authorization: basic },
        signal: AbortSignal.any([signal, AbortSignal.timeout(this.#options.timeoutMs ?? 30_000)]),
      });
      if (isForAMoment(answer)) throw new Error(`it answers ${answer.status}`);
      if (!answer.ok) return null;
      const { token, access_token: accessToken } = tokenAnswer.parse(await answer.json());
      const value = token ?? accessToken;
      return value === undefined ? null : `Bearer ${value}`;
    } catch (cause) {
      signal.throwIfAborted();
      throw this.#unavailable(`its login at ${realm.host} failed`, cause);
    }
  }

  async #allowed(answer: Response, call: RegistryCall): Promise<Response> {
    if (answer.status !== 401 && answer.status !== 403) return answer;
    await answer.body?.cancel();
    throw this.#refused(call, answer.status);
  }

  #unavailable(why: string, cause?: unknown): DeployError {
    return registryUnavailable(this.#options.host, why, cause);
  }

  #refused({ method, path }: RegistryCall, status: number): DeployError {
    return new DeployError(
      'REGISTRY_REFUSED',
      `the registry ${this.#options.host} refuses ${method} of ${path.replace(/\/(manifests|blobs|tags)\/.*$/, '')} (${status})`,
      'This is not your tool’s fault. Operators: check the setting registry_credentials and the rights of its account.',
    );
  }
}

/** The error of a registry that does not answer, or that answers that it cannot serve the request. */
export function registryUnavailable(host: string, why: string, cause?: unknown): DeployError {
  return new DeployError(
    'REGISTRY_UNAVAILABLE',
    `the image registry ${host} cannot be used at the moment: ${why}`,
    'This is not your tool’s fault: push again in some minutes. If it still fails, tell the operator.',
    cause === undefined ? {} : { cause },
  );
}

/** Whether a retry may succeed, because the registry is overloaded or has failed. */
function isForAMoment({ status }: Response): boolean {
  return status === 429 || status >= 500;
}

function whyOf(error: unknown): string {
  if (!(error instanceof Error) || error.name === 'TimeoutError') return 'no answer in time';
  return codeOf(error) ?? (error.cause instanceof Error ? error.cause.message : error.message);
}

/**
 * The system code of an error of `fetch`, such as ECONNREFUSED. `fetch` hides it in `cause`. Null if there is no code.
 */
function codeOf(error: unknown): string | null {
  if (error instanceof Error && error.name === 'TimeoutError') return null;
  return systemCode(error) ?? (error instanceof Error ? systemCode(error.cause) : null);
}
