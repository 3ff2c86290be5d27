import { DeployError, systemCode } from '../errors.ts';

/**
 * Says why the server cannot listen at an address, and what to do.
 *
 * @param door - The name of the setting, after TOOLFORGE_PUSH_.
 */
export function cannotListen(
  door: 'SSH' | 'HTTP' | 'SOURCES_LISTEN',
  { host, port }: { readonly host: string; readonly port: number },
  cause: Error,
): DeployError {
  const setting = `TOOLFORGE_PUSH_${door}=HOST:PORT`;
  const { why, mend } = reason(systemCode(cause));
  const name = door === 'SOURCES_LISTEN' ? 'door for sources of builds' : `${door} door`;
  const message = `the ${name} cannot listen at ${host}:${port}: ${why}`;
  return new DeployError('CANNOT_LISTEN', message, `${mend} ${setting}`, { cause });
}

function reason(code: string | null): { readonly why: string; readonly mend: string } {
  switch (code) {
    case 'EADDRINUSE':
      return {
        why: 'another program listens there',
        mend: 'Stop that program (ss -ltnp shows it), or choose another address:',
      };
    case 'EACCES':
      return { why: 'ports below 1024 are for root', mend: 'Choose another port:' };
    case 'EADDRNOTAVAIL':
      return { why: 'this machine does not have that address', mend: 'Choose an address that it has:' };
    default:
      return { why: code ?? 'unknown error', mend: 'Choose another address:' };
  }
}
