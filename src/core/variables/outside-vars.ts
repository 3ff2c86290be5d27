import { DeployError } from '../errors.ts';
import type { Release } from '../types.ts';
import { changeConfigVars } from './config-changes.ts';

/**
 * The config vars of a tool that come from outside, from the operator of this server. The server reads them at each
 * start of a release, and does not store them. In a cluster, the Secret of the release has a copy. If a stored config
 * var has the same name, the value from outside counts.
 */
export interface OutsideVars {
  /** Tells people where the config vars come from, such as `the operator’s file wikibot.env`. */
  readonly source: string;
  readonly vars: Readonly<Record<string, string>>;
}

/** The value for a tool without config vars from outside. */
export const NOTHING_OUTSIDE: OutsideVars = { source: 'outside', vars: {} };

/**
 * Reads and checks config vars from outside. The limits of stored config vars apply.
 *
 * @throws DeployError `OUTSIDE_CONFIG` if they cannot be used. The error repeats no value.
 */
export function readOutsideVars(source: string, read: () => Record<string, string>): OutsideVars {
  try {
    return { source, vars: changeConfigVars({}, read()) };
  } catch (cause) {
    throw cause instanceof DeployError ? unusable(source, cause.message, cause) : cause;
  }
}

/** The refusal of config vars from outside that cannot be used. `why` continues a sentence about the source. */
export function unusable(source: string, why: string, cause?: unknown): DeployError {
  return new DeployError(
    'OUTSIDE_CONFIG',
    `${source}, from which config vars come, cannot be used: ${why}`,
    'Ask the operator of this server to correct this, and try again.',
    { cause },
  );
}

/**
 * Returns the release as it runs: with the config vars that the operator keeps outside of the store, in a file or a
 * Secret. They override those of the store. The result must not be stored.
 */
export function withOutside<One extends Release>(release: One, { vars }: OutsideVars): One {
  return { ...release, configVars: { ...release.configVars, ...vars } };
}
