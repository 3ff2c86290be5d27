import type { V1Secret } from '@kubernetes/client-node';
import type { Config } from '../../config.ts';
import type { ToolName } from '../../core/names.ts';
import {
  NOTHING_OUTSIDE,
  type OutsideVars,
  readOutsideVars,
  unusable,
} from '../../core/variables/outside-vars.ts';
import { findObject } from '../../kubernetes/apply.ts';
import type { Cluster } from '../../kubernetes/cluster.ts';
import type { Retrying } from '../../kubernetes/retry.ts';
import { namespaceOf } from './manifests/object-names.ts';

/**
 * Reads those config vars of a tool that come from outside, from the operator: the data of the Secret that the setting
 * `config_vars_secret` names, in the tool's namespace. A tool without this Secret has no such config vars. This
 * function needs only the right to patch Secrets, because it reads the Secret by a server-side dry run of an empty
 * change.
 *
 * @throws DeployError `OUTSIDE_CONFIG` if a name or value cannot be a config var; the cluster's refusal.
 */
export async function readOutsideSecret(
  {
    cluster,
    config,
  }: {
    readonly cluster: Cluster;
    readonly config: Pick<Config, 'config_vars_secret' | 'tool_namespace_prefix'>;
  },
  tool: ToolName,
  call: Retrying,
): Promise<OutsideVars> {
  const name = config.config_vars_secret;
  if (name === '') return NOTHING_OUTSIDE;
  const namespace = namespaceOf(tool, config.tool_namespace_prefix);
  const source = `the Secret ${name} in the namespace ${namespace}`;
  const wanted = { apiVersion: 'v1', kind: 'Secret', metadata: { name, namespace } };
  const found: V1Secret | null = await findObject<V1Secret>(cluster, wanted, call);
  const data = Object.entries(found?.data ?? {});
  return readOutsideVars(source, () =>
    Object.fromEntries(data.map(([key, value]) => [key, textOf(value, key, source)])),
  );
}

function textOf(base64: string, key: string, source: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Buffer.from(base64, 'base64'));
  } catch (error) {
    throw unusable(source, `the value of ${key} is not UTF-8 text`, error);
  }
}
