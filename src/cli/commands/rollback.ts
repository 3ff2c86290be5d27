import type { ToolCommand } from '../command.ts';
import { UsageError } from '../command-line/usage-error.ts';
import { followTicket } from '../follow-ticket.ts';

export const rollbackCommand: ToolCommand = {
  name: 'rollback',
  usage: 'TOOL [vN]',
  summary: 'deploy an old release again, with its config vars',
  examples: ['rollback wikibot', 'rollback wikibot v41'],
  details: [
    'Without vN: the newest older release that was live and has another artifact or other config vars. A rollback makes a new release. To list the releases: releases TOOL',
  ],
  action: 'deploy',
  options: {},
  words: { min: 0, max: 1 },
  async run(context) {
    const { services, tool, principal, args, signal } = context;
    const version = args[0] === undefined ? null : versionOf(args[0]);
    await services.room.assertRoom();
    const ticket = await services.deployments.rollback(tool, version, principal, signal);
    return await followTicket(context, ticket);
  },
};

/** Reads a version: `v42` or `42`. @throws UsageError if the text has another form. */
function versionOf(text: string): number {
  const digits = /^v?([1-9]\d{0,8})$/.exec(text)?.[1];
  if (digits === undefined) throw new UsageError('Write a release as v and its number, for example v42.');
  return Number(digits);
}
