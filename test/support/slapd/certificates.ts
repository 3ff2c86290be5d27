import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';

/** The paths of two PEM files. */
export interface Certificate {
  readonly certificate: string;
  readonly key: string;
}

/** A certificate authority for tests, in a folder. */
export class TestAuthority {
  readonly ca: string;
  readonly #folder: string;
  readonly #key: string;

  private constructor(folder: string, name: string) {
    this.#folder = folder;
    this.ca = join(folder, `${name}.pem`);
    this.#key = join(folder, `${name}.key`);
  }

  static async create(folder: string, name = 'ca'): Promise<TestAuthority> {
    const authority = new TestAuthority(folder, name);
    const subject = `/CN=${name} of a test`;
    await openssl(
      folder,
      'req',
      '-x509',
      ...newKey,
      '-subj',
      subject,
      '-days',
      '2',
      '-keyout',
      authority.#key,
      '-out',
      authority.ca,
    );
    return authority;
  }

  /** Issues a certificate. @param names - For example `DNS:localhost,IP:127.0.0.1`. */
  async issue(name: string, names: string): Promise<Certificate> {
    const [certificate, key, request, extensions] = ['pem', 'key', 'csr', 'ext'].map((end) =>
      join(this.#folder, `${name}.${end}`),
    ) as [string, string, string, string];
    await openssl(this.#folder, 'req', ...newKey, '-subj', `/CN=${name}`, '-keyout', key, '-out', request);
    await writeFile(extensions, `subjectAltName=${names}\n`);
    const by = ['-CA', this.ca, '-CAkey', this.#key, '-CAcreateserial'];
    await openssl(
      this.#folder,
      'x509',
      '-req',
      '-in',
      request,
      ...by,
      '-days',
      '2',
      '-extfile',
      extensions,
      '-out',
      certificate,
    );
    return { certificate, key };
  }
}

const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];

async function openssl(cwd: string, ...args: string[]): Promise<void> {
  await execa('openssl', args, { cwd });
}
