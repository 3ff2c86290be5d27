import type { V1Deployment } from '@kubernetes/client-node';
import type { Applied } from '../../../kubernetes/apply.ts';
import { headersOf, htmlOf, pageAbout } from '../../error-pages.ts';
import { MAX_PAGE_BYTES, PAGE_PLACES } from '../../words/maintenance-words.ts';
import type { ManifestConfig } from '../manifests/manifest-config.ts';
import {
  COMPONENT,
  CONTAINER,
  MAINTENANCE,
  maintenanceLabels,
  maintenanceName,
  type Rollout,
} from '../manifests/object-names.ts';
import {
  confinement,
  literal,
  PORT_NAME,
  preStopSeconds,
  toolLabels,
  WEB_PORT,
} from '../manifests/pod-manifest.ts';
import { PAGE_SERVER } from './page-server.ts';

/**
 * The release whose image has the page about maintenance, and the other facts for the Deployment that shows this page
 * to visitors.
 */
export interface MaintenancePage extends Pick<Rollout, 'release' | 'namespace' | 'previewOf'> {
  readonly toolNumber: number;
  readonly config: ManifestConfig;
}

// The least that Toolforge's LimitRange accepts is 50m of CPU and 100Mi of memory.
const RESOURCES = {
  limits: { cpu: '100m', memory: '100Mi' },
  requests: { cpu: '50m', memory: '100Mi' },
};

/**
 * Returns the Deployment that shows visitors the page about maintenance. Its pod uses the image of the release, because
 * the page is in this image. The pod runs no process of the tool, and gets no config var and no Secret. The Deployment
 * belongs to no rollout, so that it outlives rollouts.
 */
export function maintenanceDeployment(page: MaintenancePage): Applied<V1Deployment> {
  const { release, namespace, config } = page;
  const { tool } = release;
  const labels = { ...toolLabels(tool), [COMPONENT]: MAINTENANCE };
  const pauseSeconds = preStopSeconds(config);
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: maintenanceName(page), namespace, labels },
    spec: {
      replicas: 1,
      revisionHistoryLimit: 0,
      // With this strategy, the page about maintenance of a new release replaces that of the old release without a gap.
      strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
      selector: { matchLabels: maintenanceLabels(tool) },
      template: {
        metadata: { labels },
        spec: {
          ...confinement(page),
          terminationGracePeriodSeconds: pauseSeconds + 5,
          containers: [
            {
              name: CONTAINER,
              image: release.artifact.reference,
              imagePullPolicy: 'IfNotPresent',
              command: ['/usr/bin/perl', '-e', literal(PAGE_SERVER)],
              args: ['/workspace', String(WEB_PORT), String(MAX_PAGE_BYTES), ...PAGE_PLACES],
              env: Object.entries(answersFor(tool)).map(([name, value]) => ({ name, value: literal(value) })),
              ports: [{ name: PORT_NAME, containerPort: WEB_PORT, protocol: 'TCP' }],
              readinessProbe: { tcpSocket: { port: WEB_PORT }, periodSeconds: 1, failureThreshold: 3 },
              // Proxies may still send requests to a pod that is ending, so the pod answers for this long before it
              // ends.
              lifecycle: { preStop: { sleep: { seconds: pauseSeconds } } },
              resources: RESOURCES,
              securityContext: {
                allowPrivilegeEscalation: false,
                readOnlyRootFilesystem: true,
                capabilities: { drop: ['ALL'] },
              },
            },
          ],
        },
      },
    },
  };
}

/** Returns the environment variables for `PAGE_SERVER`, the program that shows the page about maintenance. */
function answersFor(tool: string): Record<string, string> {
  const plain = pageAbout(tool, { kind: 'maintenance', page: null }, '');
  const own = pageAbout(tool, { kind: 'maintenance', page: '' }, '');
  const headOf = (page: typeof plain) =>
    [
      `HTTP/1.1 ${page.status} Service Unavailable`,
      ...Object.entries(headersOf(page)).map((header) => header.join(': ')),
    ].join('\r\n');
  return { PLAIN_HEAD: headOf(plain), PLAIN_BODY: htmlOf(plain), OWN_HEAD: headOf(own) };
}
