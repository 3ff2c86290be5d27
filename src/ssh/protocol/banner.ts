import type { Connection } from 'ssh2';
import { sendMessage, sshString } from './ssh2-internals.ts';

const USERAUTH_BANNER = 53;

/**
 * Shows a text to the person who is logging in, at any time before the login succeeds. Clients print the text unless
 * they run in quiet mode. No other message reaches a person whose login fails. ssh2's own banner is sent before the
 * server knows the user name.
 *
 * @see https://www.rfc-editor.org/rfc/rfc4252#section-5.4
 */
export function sendBanner(client: Connection, text: string): void {
  const message = `${text.trimEnd().replaceAll(/\r?\n/g, '\r\n')}\r\n`;
  sendMessage(client, Buffer.concat([Buffer.from([USERAUTH_BANNER]), sshString(message), sshString('')]));
}
