import { DeployError } from '../core/errors.ts';
import { Shares } from '../core/fair-share/shares.ts';
import type { ToolName } from '../core/names.ts';
import type { Principal } from '../core/types.ts';

/**
 * How many clones and fetches of users who are not operators may run at the same time. Each clone or fetch keeps git
 * processes running, even while its client reads nothing.
 */
const MAX_FETCHES = 200;
/**
 * The weights in `Shares` of a credential (a key, password or token), a person and a tool. Of 200 places, a credential
 * that fetches alone gets 19, a person 40 and a tool 40.
 */
const WEIGHT_OF_CREDENTIAL = 0.1;
const WEIGHT_OF_PERSON = 0.25;
const WEIGHT_OF_TOOL = 0.25;

/** Limits the clones and fetches that run at the same time, over SSH and HTTP together. Operators have no limit. */
export class FetchPlaces {
  readonly #shares = new Shares(MAX_FETCHES);

  /**
   * Takes a place for one clone or fetch. An operator needs no place.
   *
   * @returns a function that gives the place back.
   * @throws DeployError `TOO_MANY_FETCHES` if the credential, the person, the tool or the server has no place left.
   */
  take({ uid, credential, isOperator }: Principal, tool: ToolName): () => void {
    if (isOperator) return () => {};
    const holders = [
      { key: `credential ${uid} ${credential}`, weight: WEIGHT_OF_CREDENTIAL, who: `the ${credential} has` },
      { key: `person ${uid}`, weight: WEIGHT_OF_PERSON, who: `the user ${uid} has` },
      { key: `tool ${tool}`, weight: WEIGHT_OF_TOOL, who: `the tool ${tool} has` },
    ];
    const taken = this.#shares.take(Object.fromEntries(holders.map(({ key, weight }) => [key, weight])));
    if (taken.kind === 'taken') return taken.giveBack;
    const whoHas = holders.find(({ key }) => key === taken.holder)?.who ?? 'this server has';
    throw new DeployError(
      'TOO_MANY_FETCHES',
      `${whoHas} too many clones and fetches under way`,
      'Wait until some clones or fetches have ended, and try again.',
    );
  }
}
