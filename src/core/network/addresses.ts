/** The addresses at which people reach this server. Hints and pages name them. */
export interface Addresses {
  /** The address of the SSH server, such as `ssh://127.0.0.1:2222`. */
  readonly ssh: string;
  /** The address of the HTTP server, without a slash at the end, such as `http://127.0.0.1:8080`. */
  readonly http: string;
}

/** The address and port at which the SSH or HTTP server listens. */
export interface Listening {
  readonly host: string;
  readonly port: number;
}

/** An address and its port as one text, such as `127.0.0.1:8080` or `[::1]:8080`. */
export function hostPort({ host, port }: Listening): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** The addresses in `public_ssh` and `public_url`. If a setting is empty, the address at which its server listens. */
export function addressesOf(
  config: {
    readonly public_ssh: string;
    readonly public_url: string;
    readonly tls_certificate: string | null;
  },
  doors: { readonly ssh: Listening; readonly http: Listening },
): Addresses {
  const scheme = config.tls_certificate === null ? 'http' : 'https';
  const { public_ssh: ssh, public_url: http } = config;
  return {
    ssh: `ssh://${ssh === '' ? hostPort(doors.ssh) : ssh}`,
    http: http === '' ? `${scheme}://${hostPort(doors.http)}` : http.replace(/\/+$/, ''),
  };
}

/** The addresses of this server. They are empty until the SSH and HTTP servers listen. */
export class ServerAddresses implements Addresses {
  #people: Addresses = { ssh: '', http: '' };
  #sources = '';

  get ssh(): string {
    return this.#people.ssh;
  }

  get http(): string {
    return this.#people.http;
  }

  /**
   * The address at which builds in a cluster get their source if `source_url` is not set, such as
   * `http://10.0.0.5:8081`.
   */
  get sources(): string {
    return this.#sources;
  }

  /** @param doors - Where each server listens. `sources` is null if the HTTP server gives builds their source, too. */
  set(
    config: Parameters<typeof addressesOf>[0],
    doors: { readonly ssh: Listening; readonly http: Listening; readonly sources: Listening | null },
  ): void {
    this.#people = addressesOf(config, doors);
    this.#sources = doors.sources === null ? this.#people.http : `http://${hostPort(doors.sources)}`;
  }
}

/** A command over SSH as one types it: `ssh -p 2222 alice@127.0.0.1 logs hello`. */
export function sshCommand(addresses: Addresses, uid: string, words: string): string {
  const { hostname, port } = new URL(addresses.ssh);
  return `ssh ${port === '' || port === '22' ? '' : `-p ${port} `}${uid}@${hostname} ${words}`;
}

/** A command over HTTP as one types it: `curl -u alice --data 'logs hello' http://127.0.0.1:8080/-/command`. */
export function httpCommand(addresses: Addresses, uid: string, words: string): string {
  return `curl -u ${uid} --data '${words}' ${addresses.http}/-/command`;
}

/** The remote of a tool over SSH: `ssh://alice@127.0.0.1:2222/hello.git`. */
export function sshRemote(addresses: Addresses, uid: string, tool: string): string {
  return `${addresses.ssh.replace('://', `://${uid}@`)}/${tool}.git`;
}

/** The remote of a tool over HTTP: `http://alice@127.0.0.1:8080/hello.git`. */
export function httpRemote(addresses: Addresses, uid: string, tool: string): string {
  return `${addresses.http.replace('://', `://${uid}@`)}/${tool}.git`;
}

/** The path at which builds in a cluster fetch their source from this server. */
export const SOURCE_PATH = '/-/source';
