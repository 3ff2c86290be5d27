import type { Connection } from 'ssh2';
import { sendMessage, sshString } from './ssh2-inner.ts';

const USERAUTH_BANNER = 53;

/**
 * Shows the text to the person who is logging in; clients print it unless they are told to be quiet. It may be
 * sent at any time before the login succeeds, and is the only way to say something to somebody who is not let
 * in. ssh2 can send one too, but only before it knows who comes.
 *
 * @see https://www.rfc-editor.org/rfc/rfc4252#section-5.4
 */
export function sendBanner(client: Connection, text: string): void {
  const message = `${text.trimEnd().replaceAll(/\r?\n/g, '\r\n')}\r\n`;
  sendMessage(client, Buffer.concat([Buffer.from([USERAUTH_BANNER]), sshString(message), sshString('')]));
}
