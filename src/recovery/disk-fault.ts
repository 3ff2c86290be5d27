import { explain } from '../store/database.ts';

/**
 * Turns errors of a full, read-only or failing disk into a DeployError, including errors that git prints. Does the same
 * for errors of a damaged store. Returns all other errors unchanged.
 */
export function diskFault(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  if (/No space left on device|Disk quota exceeded/.test(error.message)) return withCode(error, 'ENOSPC');
  if (error.message.includes('Read-only file system')) return withCode(error, 'EROFS');
  if (error.message.includes('Input/output error')) return withCode(error, 'EIO');
  return explain(error);
}

function withCode(cause: Error, code: string): unknown {
  return explain(Object.assign(new Error(cause.message, { cause }), { code }));
}
