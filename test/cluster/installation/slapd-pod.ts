import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { Client } from 'ldapts';
import { until } from '../../support/server.ts';
import type { Certificate, TestAuthority } from '../../support/slapd/certificates.ts';
import {
  ADMIN,
  ADMIN_PASSWORD,
  type Attributes,
  plantTree,
  slapdConfiguration,
} from '../../support/slapd/slapd.ts';
import { slapdImage } from './images.ts';
import { apply, kubectl, namespace } from './kubectl.ts';

const schemas = resolve(import.meta.dirname, '../../support/slapd');
const NAMESPACE = 'toolforge-push-test-people';
const MOUNTED = '/etc/slapd';

/** A slapd in the cluster, with Toolforge's tree and schemas, in a namespace of its own. */
export class SlapdPod {
  /** The URL at which our server reaches slapd. The certificate of slapd has this host name. */
  readonly url = `ldaps://slapd.${NAMESPACE}.svc:1636`;
  static readonly namespace = NAMESPACE;
  readonly #address: string;

  private constructor(address: string) {
    this.#address = address;
  }

  static async start(authority: TestAuthority): Promise<SlapdPod> {
    const image = await slapdImage();
    const certificate = await authority.issue('slapd-pod', `DNS:slapd.${NAMESPACE}.svc`);
    await apply(namespace(NAMESPACE));
    await apply(await files(authority, certificate), pod(image), service);
    await kubectl('-n', NAMESPACE, 'wait', '--for=condition=Ready', 'pod/slapd', '--timeout=90s');
    const slapd = new SlapdPod(
      await kubectl('-n', NAMESPACE, 'get', 'service', 'slapd', '-o', 'jsonpath={.spec.clusterIP}'),
    );
    // The nodes learn of a Service's endpoints a little late.
    await until(
      async () =>
        slapd.edit(plantTree).then(
          () => true,
          () => false,
        ),
      'slapd answers',
      30_000,
    );
    return slapd;
  }

  /** Runs a change as the administrator of slapd. */
  async edit<T>(work: (client: Client) => Promise<T>): Promise<T> {
    const client = new Client({ url: `ldap://${this.#address}:1389`, timeout: 10_000, connectTimeout: 2000 });
    try {
      await client.bind(ADMIN, ADMIN_PASSWORD);
      return await work(client);
    } finally {
      await client.unbind();
    }
  }

  async add(dn: string, attributes: Attributes): Promise<void> {
    await this.edit((client) => client.add(dn, attributes as Record<string, string | string[]>));
  }
}

/** The configuration of slapd and all files that it names, as one Secret. */
async function files(authority: TestAuthority, { certificate, key }: Certificate): Promise<object> {
  const text = (path: string) => readFile(path, 'utf8');
  const configuration = slapdConfiguration({
    schemas: MOUNTED,
    data: '/data',
    ca: join(MOUNTED, 'ca.pem'),
    certificate: { certificate: join(MOUNTED, 'tls.pem'), key: join(MOUNTED, 'tls.key') },
  });
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: 'slapd', namespace: NAMESPACE },
    stringData: {
      'slapd.conf': configuration,
      'ca.pem': await text(authority.ca),
      'tls.pem': await text(certificate),
      'tls.key': await text(key),
      'rfc2307bis.schema': await text(join(schemas, 'rfc2307bis.schema')),
      'ldap-public-key.schema': await text(join(schemas, 'ldap-public-key.schema')),
    },
  };
}

function pod(image: string): object {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'slapd', namespace: NAMESPACE, labels: { app: 'slapd' } },
    spec: {
      automountServiceAccountToken: false,
      terminationGracePeriodSeconds: 1,
      securityContext: {
        runAsNonRoot: true,
        runAsUser: 10_002,
        runAsGroup: 10_002,
        fsGroup: 10_002,
        seccompProfile: { type: 'RuntimeDefault' },
      },
      containers: [
        {
          name: 'slapd',
          image,
          ports: [{ containerPort: 1389 }, { containerPort: 1636 }],
          readinessProbe: { tcpSocket: { port: 1636 }, periodSeconds: 1 },
          securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
          volumeMounts: [
            { name: 'files', mountPath: MOUNTED, readOnly: true },
            { name: 'data', mountPath: '/data' },
            { name: 'run', mountPath: '/var/run/slapd' },
          ],
        },
      ],
      volumes: [
        { name: 'files', secret: { secretName: 'slapd', defaultMode: 0o440 } },
        { name: 'data', emptyDir: {} },
        { name: 'run', emptyDir: {} },
      ],
    },
  };
}

const service = {
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name: 'slapd', namespace: NAMESPACE },
  spec: {
    selector: { app: 'slapd' },
    ports: [
      { name: 'ldap', port: 1389 },
      { name: 'ldaps', port: 1636 },
    ],
  },
};
