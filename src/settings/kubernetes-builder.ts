import { z } from 'zod';
import { list, mebibytes, optionalFile, optionalHostPort, type Setting, text, wholeNumber } from './kinds.ts';

const origin = text.regex(
  /^(https?:\/\/[^\s/]+)?\/?$/,
  'an address without a path, as https://push.example.org',
);

/** Building in a cluster, where `builder` is `kubernetes`, with images in a registry. */
export const kubernetesBuilderSettings = {
  build_namespace: [
    text.regex(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/, 'the name of a namespace'),
    'toolforge-push-builds',
    'The namespace that builds run in. It holds nothing else.',
  ],
  builder_image: [
    text,
    '',
    'The image that builds run in: what deploy/builder/build-images made, or any builder of Cloud Native Buildpacks. Its buildpacks, their order and its user are used as they are.',
  ],
  run_image: [
    text,
    '',
    'The image that tools’ images stand on; empty: the one that the builder image names.',
  ],
  registry: [
    text.regex(
      /^(|[A-Za-z0-9.-]+(:\d+)?(\/[a-z0-9._-]+)*)$/,
      'a host, a port and a path, as registry.example.org/tools',
    ),
    '',
    'The image registry, and the path below which each tool has its repositories `tool-NAME/tool-NAME` and `tool-NAME/cache`.',
  ],
  registry_plain_http: [
    list,
    '',
    'Registries to which HTTP without TLS is spoken, by `HOST` or `HOST:PORT` as images name them: for one within the cluster or on this machine.',
  ],
  registry_credentials: [
    optionalFile,
    '',
    'File of docker’s configuration (config.json, .dockerconfigjson) with which this server logs in to registries.',
  ],
  registry_secret: [
    text.regex(/^[a-z0-9.-]{0,253}$/, 'the name of a Secret'),
    '',
    'Secret of type kubernetes.io/dockerconfigjson in `build_namespace`, with which builds push. No buildpack sees it. With Harbor each build gets an account of its own instead.',
  ],
  source_url: [
    origin,
    '',
    'Where builds fetch their source from within the cluster: what leads to `sources_listen`, as http://toolforge-push.toolforge-push.svc:8081, or, where that is not set, to the HTTP door. Empty: where `sources_listen` listens, or `public_url`.',
  ],
  sources_listen: [
    optionalHostPort,
    '',
    'Where builds fetch their source, by a token that is good once, and nothing else is served: without TLS, for the network of the cluster. Empty: at the HTTP door, which builds must reach then.',
  ],
  build_cpu: [wholeNumber(50, 256_000), '2000', 'Thousandths of a processor core for one build.'],
  harbor_url: [
    origin,
    '',
    'Harbor, where the registry is one: each tool’s project is made through its interface.',
  ],
  harbor_user: [text, '', 'The account that makes projects and accounts for builds in Harbor.'],
  harbor_password_file: [optionalFile, '', 'File with the password of `harbor_user`, in its first line.'],
  harbor_project_size: [
    z.union([z.literal(['0', 0]).transform(() => -1), mebibytes(1, 10_485_760)], {
      error: 'a whole number of MiB, or 0',
    }),
    '1024',
    'MiB that the images of one tool may take in a project that this server makes; 0: without a limit.',
  ],
} as const satisfies Record<string, Setting>;
