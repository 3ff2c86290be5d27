import { type Logger, pino, stdTimeFunctions } from 'pino';

export type Log = Logger;

/**
 * The operator's voice: one JSON line for each event on standard output, with a fixed message and facts as
 * fields. Never a secret: values under the names below are replaced whatever they are.
 */
export function createLog(level: string): Log {
  return pino({
    level,
    base: null,
    timestamp: stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    redact: {
      paths: ['password', '*.password', 'configVars', '*.configVars', 'authorization', '*.authorization'],
    },
  });
}
