import { execa } from 'execa';

/** Runs kubectl. @returns its output. @throws if it fails. */
export async function kubectl(...words: string[]): Promise<string> {
  return (await execa('kubectl', words, { stdin: 'ignore' })).stdout;
}

/** Creates or changes these objects with `kubectl apply`. */
export async function apply(...objects: object[]): Promise<void> {
  const input = JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects });
  await execa('kubectl', ['apply', '-f', '-'], { input });
}

/** A Namespace with Pod Security `restricted`, and with a mark for later runs of the same test. */
export function namespace(name: string): object {
  const labels = { 'pod-security.kubernetes.io/enforce': 'restricted', [OURS]: 'true' };
  return { apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } };
}

/** Marks namespaces that tests may delete. */
export const OURS = 'push.toolforge.org/test';
