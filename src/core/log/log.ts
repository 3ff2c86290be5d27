import { type DestinationStream, type Logger, pino, stdTimeFunctions } from 'pino';
import { escapeControls } from '../text/escape-controls.ts';
import { errorFacts } from './error-facts.ts';
import { StandardOutput } from './standard-output.ts';

export type Log = Logger;

const standardOutput = new StandardOutput();

/**
 * The operator's log: one JSON line per event, with a fixed message and the facts as fields, on standard output unless
 * there is a `destination`. The log must contain no secrets, so the fields that `redact` names lose their values.
 */
export function createLog(level: string, destination?: DestinationStream): Log {
  const options = {
    level,
    base: null,
    serializers: { err: (error: unknown) => errorFacts(error) },
    timestamp: stdTimeFunctions.isoTime,
    hooks: { streamWrite: escapeControls },
    formatters: { level: (label: string) => ({ level: label }) },
    redact: {
      paths: ['password', '*.password', 'configVars', '*.configVars', 'authorization', '*.authorization'],
    },
  };
  return pino(options, destination ?? standardOutput);
}
