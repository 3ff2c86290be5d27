import { oneOf, type Setting, text } from './kinds.ts';

/** Where tools are built and where they run. */
export const backEndSettings = {
  builder: [
    oneOf('local', 'kubernetes'),
    'local',
    'Where builds run: `local` is this machine, `kubernetes` a Job of the cluster for each, which stores an image in `registry`.',
  ],
  runtime: [
    oneOf('local', 'kubernetes'),
    'local',
    'Where tools run: `local` is this machine, `kubernetes` the cluster, each tool in its own namespace. Both settings are the same.',
  ],
  kubernetes_context: [
    text,
    '',
    'The context of the kubeconfig; empty: the cluster that this server runs in, or else the current context.',
  ],
} as const satisfies Record<string, Setting>;
