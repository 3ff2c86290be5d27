import { type DestinationStream, type Logger, pino, stdTimeFunctions } from 'pino';
import { errorFacts } from './error-facts.ts';

export type Log = Logger;

/**
 * The operator's log: one JSON line per event on standard output, with a fixed message and the facts as fields. It
 * never contains a secret: the value of every field that `redact` names is replaced.
 */
export function createLog(level: string, destination?: DestinationStream): Log {
  const options = {
    level,
    base: null,
    serializers: { err: (error: unknown) => errorFacts(error) },
    timestamp: stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
    redact: {
      paths: ['password', '*.password', 'configVars', '*.configVars', 'authorization', '*.authorization'],
    },
  };
  return destination === undefined ? pino(options) : pino(options, destination);
}
