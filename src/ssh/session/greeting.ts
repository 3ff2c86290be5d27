import type { Directory } from '../../auth/directory.ts';
import type { Principal } from '../../core/types.ts';

/**
 * Returns the answer to `ssh HOST` without a command. It names the user, the user's tools, and the commands to type.
 */
export async function greeting(
  directory: Directory,
  principal: Principal,
  address: string,
  signal: AbortSignal,
): Promise<string> {
  const tools = await directory.toolsOf(principal.uid, signal);
  const { host, port } = new URL(address.includes('://') ? address : `ssh://${address}`);
  const bare = port === '' ? host : host.slice(0, -port.length - 1);
  const ssh = `ssh ${port === '' ? '' : `-p ${port} `}${principal.uid}@${bare.replace(/^\[|\]$/g, '')}`;
  return [
    `Hello ${principal.uid}, you are logged in with ${principal.credential}.`,
    tools.length === 0 ? 'You maintain no tool here.' : `Your tools: ${tools.join(', ')}.`,
    '',
    'There is no shell here. To deploy a tool:',
    `    git push ssh://${principal.uid}@${host}/${tools[0] ?? 'TOOL'}.git main`,
    'All commands:',
    `    ${ssh} help`,
    '',
  ].join('\n');
}
