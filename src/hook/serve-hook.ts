import { once } from 'node:events';
import type { TruthfulPush } from '../git/push-session.ts';
import type { LocalConnection } from './server-socket.ts';

/** The end mark that hooks/post-receive waits for; no text for a client holds this byte. */
const END = '\0';

/**
 * Serves one post-receive hook: its update lines go to the push that it belongs to, and the push's text comes back.
 * A hook that dies, as its client did, ends the viewing and nothing else.
 */
export async function serveHook(
  connection: LocalConnection,
  findPush: (id: string) => TruthfulPush | null,
): Promise<void> {
  const { socket, firstLine } = connection;
  const push = findPush(firstLine.slice('hook '.length));
  if (push === null) return;
  const gone = new AbortController();
  socket.once('close', () => gone.abort());
  const updates = await readUpdates(connection);
  const write = async (text: string): Promise<void> => {
    if (gone.signal.aborted || socket.write(text)) return;
    await once(socket, 'drain', { signal: gone.signal }).catch(() => undefined);
  };
  await push.received(new Set(updates), write, gone.signal);
  if (!gone.signal.aborted) socket.end(END);
}

/** The refs of githooks(5) post-receive: `OLD NEW REF` a line. */
async function readUpdates({ socket, rest }: LocalConnection): Promise<string[]> {
  const chunks: Buffer[] = [rest];
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) chunks.push(chunk as Buffer);
  const lines = Buffer.concat(chunks).toString('utf8').split('\n');
  return lines.flatMap((line) => (line === '' ? [] : [line.split(' ').slice(2).join(' ')]));
}
