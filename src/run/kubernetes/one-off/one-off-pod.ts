import type { V1Pod, V1Secret } from '@kubernetes/client-node';
import { ONE_OFF_TYPE } from '../../../core/replicas.ts';
import type { Applied } from '../../../kubernetes/apply.ts';
import { processOf } from '../../one-off-command.ts';
import type { OneOff, TerminalSize } from '../../runtime.ts';
import type { ManifestConfig } from '../manifests/manifest-config.ts';
import { LABELS, objectName, type Rollout } from '../manifests/object-names.ts';
import { literal, podTemplate, toolLabels, webPort } from '../manifests/pod-manifest.ts';
import { configSecret } from '../manifests/rollout-manifests.ts';

/**
 * The label of the pod and the Secret of a one-off command. Each start of the server uses another value, so the server
 * finds what earlier starts have left. No Service selects such a pod.
 */
export const ONE_OFF_LABEL = 'push.toolforge.org/one-off';

export interface OneOffPodOptions {
  /** A rollout that exists only for this command. Its id is in the names of the command's pod and Secret. */
  readonly rollout: Rollout;
  readonly oneOff: OneOff;
  readonly config: ManifestConfig;
  /** The value of `ONE_OFF_LABEL` for this run of the server. Each start of the server uses another value. */
  readonly serverRun: string;
  /**
   * Random hexadecimal digits, by which the server finds the output of the command. The container prints
   * `markBytes(mark)` before this output and, without a terminal, also after it.
   */
  readonly mark: string;
}

// After `--`, no shell interprets the words: https://github.com/buildpacks/spec/blob/main/platform.md#launcher
export const LAUNCHER = ['/cnb/lifecycle/launcher', '--'];

/**
 * The script that runs a command without a terminal. The script first waits for a line, which the server sends when it
 * has attached to the pod, so that no output is lost. Then the script prints a random mark and starts the command. When
 * the command has ended, the script prints the mark to standard output and to standard error. Then the script waits
 * until the server detaches, and reads the rest of its input meanwhile. If the script ended earlier, the output that is
 * on its way to the server would be lost.
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
 * The script that runs a command in a terminal. The script first waits for a line from the server with the size of the
 * client's terminal. The terminal does not echo this line. `exec` puts the command in the place of the shell.
 * Otherwise, a key such as Ctrl-C would also send its signal to the shell.
 */
const IN_TERMINAL = `stty -echo
read -r rows columns || exit 129
stty echo rows "$rows" cols "$columns"
printf '\\0%s' "$1"
shift
exec "$@"`;

/**
 * Returns the line that the server sends to the pod of a one-off command once it has attached to the pod. The script in
 * the pod waits for this line before it starts the command. For a command in a terminal, the line is the terminal's
 * size.
 */
export function attachedLine(size: TerminalSize | undefined): string {
  return size === undefined ? '\n' : `${size.rows} ${size.columns}\n`;
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
  const variables = {
    PORT: String(webPort(rollout.release)),
    ...(terminal === null ? {} : { TERM: terminal.type }),
  };
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
      // The deadline ends the pod if this server is killed and no server starts again to remove the pod.
      activeDeadlineSeconds: Math.ceil(
        (config.pod_start_time + config.one_off_time + config.grace_time) / 1000,
      ),
      // Share the process namespace of the pod. Otherwise the command would be the first process of its namespace, and
      // such a process gets no signals that it does not handle, not even from Ctrl-C.
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

/** Returns the Secret with the release's config vars, for this one-off command alone. */
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
