import type { ToolCommand } from '../command.ts';
import { UsageError } from '../command-line/usage-error.ts';
import { followTicket } from '../follow-ticket.ts';

export const rollbackCommand: ToolCommand = {
  name: 'rollback',
  usage: 'TOOL [vN]',
  summary: 'bring back an old release, config vars included',
  details: [
    'Without vN the release before the live one. It becomes a new release; see them with: releases TOOL',
  ],
  action: 'deploy',
  options: {},
  words: { min: 0, max: 1 },
  async run(context) {
    const { services, tool, principal, args } = context;
    const version = args[0] === undefined ? null : versionOf(args[0]);
    await services.room.assertRoom();
    return await followTicket(context, services.deployments.rollback(tool, version, principal));
  },
};

/** @throws UsageError */
function versionOf(text: string): number {
  const digits = /^v?([1-9]\d{0,8})$/.exec(text)?.[1];
  if (digits === undefined) throw new UsageError('A release is named as v42.');
  return Number(digits);
}
