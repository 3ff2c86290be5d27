import { explain } from '../store/database.ts';

/** A disk that is full or read-only, as a DeployError; any other error as it is. Git says it in its own words. */
export function diskFault(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  if (/No space left on device|Disk quota exceeded/.test(error.message)) return withCode(error, 'ENOSPC');
  if (error.message.includes('Read-only file system')) return withCode(error, 'EROFS');
  return explain(error);
}

function withCode(cause: Error, code: string): unknown {
  return explain(Object.assign(new Error(cause.message, { cause }), { code }));
}
