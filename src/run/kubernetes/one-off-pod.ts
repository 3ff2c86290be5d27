import type { V1Pod, V1Secret } from '@kubernetes/client-node';
import type { Applied } from '../../kubernetes/applying.ts';
import { processOf } from '../one-off-command.ts';
import { ONE_OFF_TYPE } from '../one-offs.ts';
import type { OneOff, TerminalSize } from '../runtime.ts';
import { configSecret } from './manifests.ts';
import { literal, type ManifestConfig, podTemplate, toolLabels, WEB_PORT } from './manifests-pod.ts';
import { LABELS, objectName, type Rollout } from './names.ts';

/** On what belongs to a one-off: the run of the server that made it. No Service and no rollout selects by it. */
export const ONE_OFF_LABEL = 'push.toolforge.org/one-off';

export interface OneOffPodOptions {
  /** Of this one-off alone. */
  readonly rollout: Rollout;
  readonly oneOff: OneOff;
  readonly config: ManifestConfig & { readonly one_off_time: number };
  /** A label value. */
  readonly serverRun: string;
  /** Hexadecimal, and known to nobody before: see `markBytes`. */
  readonly mark: string;
}

// https://github.com/buildpacks/spec/blob/main/platform.md#launcher: with `--` no shell reads the words.
const LAUNCHER = ['/cnb/lifecycle/launcher', '--'];

/**
 * Waits for a line, which comes once somebody is attached, so that nothing that the command prints is lost; then says
 * so by a mark. After the command a mark ends each output, and what is left of the input is read until nobody is
 * attached any more: a connection that is closed with unread input loses output that is still on its way.
 */
const PIPED = `read -r attached || exit 129
mark=$1
shift
exec 3<&0
printf '\\0%s' "$mark"
set -m
"$@" <&3 3<&- &
child=$!
exec 4>&2 2>/dev/null
trap 'kill -TERM "$child"' TERM
wait "$child"
status=$?
while kill -0 "$child" 2>/dev/null; do wait "$child"; status=$?; done
trap - TERM
printf '\\0%s' "$mark"
printf '\\0%s' "$mark" >&4
cat >/dev/null
exit "$status"`;
/**
 * The same for a terminal, where the line is not shown and says the size, and a shell in between would get the keys'
 * signals too.
 */
const IN_TERMINAL = `stty -echo
read -r rows columns || exit 129
stty echo rows "$rows" cols "$columns"
printf '\\0%s' "$1"
shift
exec "$@"`;

/** The line that the container waits for. */
export function attachedLine(size: TerminalSize | undefined): string {
  return size === undefined ? '\n' : `${size.rows} ${size.columns}\n`;
}

/** What the container prints around the output of the command. */
export function markBytes(mark: string): Uint8Array {
  return Buffer.from(`\0${mark}`);
}

export function oneOffPod(options: OneOffPodOptions): Applied<V1Pod> {
  const { rollout, oneOff, config, mark } = options;
  const { terminal } = oneOff;
  const { command } = processOf(rollout.release, oneOff.command);
  const process = { type: ONE_OFF_TYPE, command, isDefault: false };
  const { spec } = podTemplate({ rollout, process, toolNumber: oneOff.toolNumber, config }, 'Never');
  const [container] = spec?.containers ?? [];
  if (spec === undefined || container === undefined) throw new Error('A pod has a container.');
  const gate = ['/bin/bash', '-c', terminal === null ? PIPED : IN_TERMINAL, 'bash', mark];
  const variables = { PORT: String(WEB_PORT), ...(terminal === null ? {} : { TERM: terminal.type }) };
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: objectName(ONE_OFF_TYPE, rollout),
      namespace: rollout.namespace,
      labels: labels(options),
    },
    spec: {
      ...spec,
      // For the case that no server comes back to remove it.
      activeDeadlineSeconds: Math.ceil(
        (config.pod_start_time + config.one_off_time + config.grace_time) / 1000,
      ),
      // As the first process of a container a command would get no signal that it does not handle, not even Ctrl-C's.
      shareProcessNamespace: true,
      topologySpreadConstraints: [],
      containers: [
        {
          ...container,
          command: LAUNCHER,
          args: [...gate, ...command].map(literal),
          env: [
            ...(container.env ?? []),
            ...Object.entries(variables).map(([name, value]) => ({ name, value })),
          ],
          stdin: true,
          stdinOnce: true,
          tty: terminal !== null,
        },
      ],
    },
  };
}

/** The config vars of the release, for this one-off alone. */
export function oneOffSecret(options: OneOffPodOptions): Applied<V1Secret> {
  const secret = configSecret(options.rollout);
  return { ...secret, metadata: { ...secret.metadata, labels: labels(options) } };
}

function labels({ rollout: { release }, serverRun }: OneOffPodOptions): Record<string, string> {
  return {
    ...toolLabels(release.tool),
    'app.kubernetes.io/component': 'one-offs',
    [LABELS.version]: String(release.version),
    [ONE_OFF_LABEL]: serverRun,
  };
}
