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
  'an address without a path, such as https://push.example.org',
);

/**
 * Settings for builds in a cluster. They count only if the setting `builder` is `kubernetes`. Such builds push images
 * to a registry.
 */
export const kubernetesBuilderSettings = {
  build_namespace: [
    text.regex(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/, 'the name of a namespace'),
    'toolforge-push-builds',
    'The namespace in which builds run. Use this namespace for nothing else.',
  ],
  builder_image: [
    text,
    '',
    'The builder image of builds: an image made by deploy/builder/build-images, or any other builder of Cloud Native Buildpacks. The server uses the buildpacks of the image, their order and its user unchanged.',
  ],
  run_image: [
    text,
    '',
    'The base image of the tools’ images. If empty, the run image that the builder image names.',
  ],
  registry: [
    text.regex(
      /^(|[A-Za-z0-9.-]+(:\d+)?(\/[a-z0-9._-]+)*)$/,
      'a host and a path, such as registry.example.org/tools, if needed with a port after the host',
    ),
    '',
    'The image registry, and the path below which each tool has its repositories `tool-NAME/tool-NAME` and `tool-NAME/cache`.',
  ],
  registry_plain_http: [
    list,
    '',
    'Registries that the server and builds reach by HTTP without TLS: `HOST` or `HOST:PORT`, as in the names of images. Only for registries in the cluster or on this machine.',
  ],
  registry_credentials: [
    optionalFile,
    '',
    'File with the credentials of this server for registries, in the format of docker (config.json, .dockerconfigjson).',
  ],
  registry_secret: [
    text.regex(/^[a-z0-9.-]{0,253}$/, 'the name of a Secret'),
    '',
    'Secret in `build_namespace` with the registry credentials of builds, of type kubernetes.io/dockerconfigjson. Buildpacks cannot read this Secret. With Harbor, each build gets its own account instead.',
  ],
  source_url: [
    origin,
    '',
    'The address from which builds in the cluster fetch their source, for example http://toolforge-push.toolforge-push.svc:8081. This address must lead to `sources_listen` or, without `sources_listen`, to the HTTP server. If empty, the address in `sources_listen`, otherwise `public_url`.',
  ],
  sources_listen: [
    optionalHostPort,
    '',
    'The address at which builds fetch their source. It serves nothing else. A build fetches its source with a token that works once. This listener has no TLS, so use it only in the network of the cluster. If empty, builds fetch their source from the HTTP server, and must be able to reach the HTTP server.',
  ],
  build_cpu: [wholeNumber(50, 256_000), '2000', 'The maximum CPU of one build, in thousandths of a core.'],
  harbor_url: [
    origin,
    '',
    'The address of Harbor, if the registry is a Harbor. The server makes a project for each tool through Harbor’s API.',
  ],
  harbor_user: [
    text,
    '',
    'The Harbor account with which the server makes projects, and accounts for builds.',
  ],
  harbor_password_file: [optionalFile, '', 'File whose first line is the password of `harbor_user`.'],
  harbor_project_size: [
    z.union([z.literal(['0', 0]).transform(() => -1), mebibytes(1, 10_485_760)], {
      error: 'a whole number of MiB, or 0',
    }),
    '1024',
    'The quota for the images of one tool in Harbor, in MiB. It applies to projects that this server makes. 0: no limit.',
  ],
} as const satisfies Record<string, Setting>;
