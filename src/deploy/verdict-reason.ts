import { DeployError, faultOf } from '../core/errors.ts';
import { sentence } from '../core/text/sentence.ts';

/** Why a deployment did not go live. */
export interface Failure {
  /** One line for git's report to the client, for example `build failed: pip exited 1; v41 is still live`. */
  readonly reason: string;
  /** The text for the deployment log: what happened, and what to do now. */
  readonly text: string;
}

/**
 * Explains to the person who asked for a deployment why it failed.
 *
 * @param whatIsLive - The words at the end of `reason` and `text`, such as `v41 is still live`.
 * @param typed - Replaces the commands in a hint by the lines that this person can type.
 * @param bugId - An id that `reason` and `text` name if the server itself failed. The operator's log has the same id.
 */
export function explainFailure(
  error: unknown,
  whatIsLive: string,
  bugId: string,
  typed: (hint: string) => string = (hint) => hint,
): Failure {
  if (!(error instanceof DeployError)) {
    const serverFault = `${faultOf(error)} (${bugId})`;
    return {
      reason: `${serverFault}; ${whatIsLive}`,
      text: `${sentence(serverFault)}\nTry again; if it happens again, tell the operators this id.\n${sentence(whatIsLive)}`,
    };
  }
  const whatFailed = `${stage(error.code)}${error.message}`;
  return {
    reason: `${whatFailed.split('\n')[0]}; ${whatIsLive}`,
    text: `${sentence(whatFailed)}\n${typed(error.hint)}\n${sentence(whatIsLive)}`,
  };
}

function stage(code: string): string {
  // Do not say `build failed`: an error with this code is thrown before a build starts.
  if (code === 'BUILD_LIMIT') return '';
  if (code.startsWith('BUILD_') || code === 'NO_BUILDPACK' || code === 'NO_PROCESS') return 'build failed: ';
  if (code.startsWith('ROLLOUT_')) return 'rollout failed: ';
  if (code.startsWith('TEST_')) return 'test failed: ';
  if (code.startsWith('RELEASE_')) return 'release failed: ';
  return '';
}
