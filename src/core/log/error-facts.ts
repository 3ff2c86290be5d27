const MAX_MESSAGE_CHARACTERS = 500;
const MAX_STACK_LINES = 12;
const MAX_CAUSES = 4;

export interface ErrorFacts {
  readonly type: string;
  readonly code?: string | number;
  readonly message: string;
  readonly stack?: string;
  readonly cause?: ErrorFacts;
}

/**
 * The facts of an error for the log: its type, code, message and causes, and its stack unless it is a DeployError.
 * Other properties are left out, because the errors of some clients contain whole answers with all headers.
 */
export function errorFacts(error: unknown, depth = 0): ErrorFacts {
  if (!(error instanceof Error)) return { type: typeof error, message: cut(String(error)) };
  const { code } = error as { code?: unknown };
  const stack = depth === 0 && error.name !== 'DeployError' ? framesOf(error) : '';
  return {
    type: error.name === 'Error' ? error.constructor.name : error.name,
    ...(typeof code === 'string' || typeof code === 'number' ? { code } : {}),
    message: cut(messageOf(error)),
    ...(stack === '' ? {} : { stack }),
    ...(error.cause === undefined || depth >= MAX_CAUSES
      ? {}
      : { cause: errorFacts(error.cause, depth + 1) }),
  };
}

/**
 * The message of an error. An error of the Kubernetes client has the whole answer of the API server as its message, so
 * the message in the body of the answer is used instead.
 */
function messageOf(error: Error): string {
  if (!('body' in error && 'headers' in error)) return error.message;
  try {
    const body: unknown = typeof error.body === 'string' ? JSON.parse(error.body) : error.body;
    const { message } = (body ?? {}) as { message?: unknown };
    if (typeof message === 'string') return message;
  } catch {}
  return 'an answer without a reason';
}

/** The stack without the message, because the message may be long. */
function framesOf({ stack = '' }: Error): string {
  const frames = stack.split('\n').filter((line) => /^ +at /.test(line));
  return frames.slice(0, MAX_STACK_LINES).join('\n');
}

function cut(text: string): string {
  return text.length > MAX_MESSAGE_CHARACTERS ? `${text.slice(0, MAX_MESSAGE_CHARACTERS)}…` : text;
}
