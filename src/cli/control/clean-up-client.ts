import { PassThrough } from 'node:stream';
import { DeployError } from '../../core/errors.ts';
import { callControl } from './control-client.ts';

/**
 * Makes the running server pause all work that deletes or merges files, until the returned function is called.
 *
 * @returns null if no server runs. Otherwise a function to call when the backup has ended: the server then continues
 * this work. That function throws DeployError `SERVER_GONE` if the server has ended, or `NOT_HELD` if the server has
 * continued this work already, because a day has passed.
 * @throws DeployError `NOT_THE_OPERATOR` if the server runs as another user; `NOT_HELD` if the server answers something
 * unknown, for example because it has another version; `SERVER_GONE` if the server ends before it answers.
 */
export async function holdCleanUp(socketPath: string): Promise<(() => Promise<void>) | null> {
  const input = new PassThrough();
  const held = Promise.withResolvers<void>();
  let told = '';
  const hear = async (bytes: Uint8Array) => {
    told += Buffer.from(bytes).toString();
    if (told === 'held\n') held.resolve();
  };
  const ended = callControl({ socketPath, argv: ['hold-clean-up'], input, out: hear, err: hear }).then(
    (status) => {
      if (told !== 'held\n') throw notHeld(told);
      if (status !== 0) throw endedEarly();
    },
  );
  ended.catch((error: unknown) => held.reject(error));
  try {
    await held.promise;
  } catch (error) {
    if (error instanceof DeployError && error.code === 'NO_SERVER') return null;
    throw error;
  }
  return async () => {
    input.end();
    await ended;
  };
}

function notHeld(told: string): DeployError {
  return new DeployError(
    'NOT_HELD',
    `the running server cannot keep its files for a backup: ${told.trim()}`,
    'Use the same version of toolforge-push for the command and the server.',
  );
}

function endedEarly(): DeployError {
  return new DeployError(
    'NOT_HELD',
    'the server did not keep its files until the backup was complete, because the backup took longer than a day',
    'Find out what made the backup slow, for example a slow disk. Then make the backup again.',
  );
}
