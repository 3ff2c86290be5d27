import { execa } from 'execa';

/** What a command of kubectl prints. @throws where it fails. */
export async function kubectl(...words: string[]): Promise<string> {
  return (await execa('kubectl', words, { stdin: 'ignore' })).stdout;
}

/** Makes objects as they are here. */
export async function apply(...objects: object[]): Promise<void> {
  const input = JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects });
  await execa('kubectl', ['apply', '-f', '-'], { input });
}

/** A Namespace, with Pod Security `restricted`, that a later run of the same test knows as its own. */
export function namespace(name: string): object {
  const labels = { 'pod-security.kubernetes.io/enforce': 'restricted', [OURS]: 'true' };
  return { apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } };
}

/** On namespaces that may be deleted. */
export const OURS = 'push.toolforge.org/test';
