import { z } from 'zod';
import {
  list,
  mebibytes,
  optionalFile,
  optionalHostPort,
  type Setting,
  text,
  wholeNumber,
} from './setting-kinds.ts';

const origin = text.regex(
  /^(https?:\/\/[^\s/]+)?\/?$/,
  'an address without a path, as https://push.example.org',
);

/** Settings for builds in a cluster: `builder` is `kubernetes`, and images go to a registry. */
export const kubernetesBuilderSettings = {
  build_namespace: [
    text.regex(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/, 'the name of a namespace'),
    'toolforge-push-builds',
    'The namespace that builds run in. It holds nothing else.',
  ],
  builder_image: [
    text,
    '',
    'The image in which builds run: the one that deploy/builder/build-images made, or any builder of Cloud Native Buildpacks. Its buildpacks, their order and its user stay unchanged.',
  ],
  run_image: [text, '', 'The base of the tools’ images; empty: the run image that the builder image names.'],
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
    'Registries that use HTTP without TLS, as `HOST` or `HOST:PORT`, as in the names of images. For a registry in the cluster or on this machine.',
  ],
  registry_credentials: [
    optionalFile,
    '',
    'File in the format of docker (config.json, .dockerconfigjson) with the credentials of this server for registries.',
  ],
  registry_secret: [
    text.regex(/^[a-z0-9.-]{0,253}$/, 'the name of a Secret'),
    '',
    'Secret of type kubernetes.io/dockerconfigjson in `build_namespace`, with the credentials of builds. No buildpack sees it. With Harbor, each build gets its own account instead.',
  ],
  source_url: [
    origin,
    '',
    'The address from which builds in the cluster fetch their source. It leads to `sources_listen`, for example http://toolforge-push.toolforge-push.svc:8081; if that is not set, to the HTTP server. Empty: the address of `sources_listen`, or `public_url`.',
  ],
  sources_listen: [
    optionalHostPort,
    '',
    'The address at which the server gives builds their source, and nothing else, for a token that can be used once. Without TLS, for the network of the cluster. Empty: the HTTP server gives out the sources, so builds must be able to reach it.',
  ],
  build_cpu: [wholeNumber(50, 256_000), '2000', 'Thousandths of a processor core for one build.'],
  harbor_url: [
    origin,
    '',
    'The address of Harbor, if the registry is one. The server makes the project of each tool through its API.',
  ],
  harbor_user: [text, '', 'The account that makes projects and accounts for builds in Harbor.'],
  harbor_password_file: [optionalFile, '', 'File with the password of `harbor_user`, in its first line.'],
  harbor_project_size: [
    z.union([z.literal(['0', 0]).transform(() => -1), mebibytes(1, 10_485_760)], {
      error: 'a whole number of MiB, or 0',
    }),
    '1024',
    'The quota in MiB for the images of one tool, in a project that this server makes; 0: no limit.',
  ],
} as const satisfies Record<string, Setting>;
