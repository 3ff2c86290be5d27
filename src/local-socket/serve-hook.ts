import { once } from 'node:events';
import type { TruthfulPush } from '../git/push/truthful-push.ts';
import type { LocalConnection } from './local-socket.ts';

/**
 * Marks the end of the text that hooks/post-receive sends to the client. (For a dry run, hooks/pre-receive runs
 * hooks/post-receive.) No text for a client contains this byte.
 */
const END = '\0';

/**
 * Serves one hook of a push. The first line says which hook it is. After `hook ID` of post-receive, tells the push
 * which refs were updated. After `dry-run ID FOLDER` of pre-receive, tells the push the folder with the objects of the
 * push. Sends the output for the client back to the hook. If the hook dies because the client left, the deployment
 * continues, but a dry run ends.
 */
export async function serveHook(
  connection: LocalConnection,
  findPush: (id: string) => TruthfulPush | null,
): Promise<void> {
  const { socket, firstLine } = connection;
  const [kind, id = '', ...path] = firstLine.split(' ');
  const push = findPush(id);
  if (push === null) return;
  const gone = new AbortController();
  socket.once('close', () => gone.abort());
  const updates = await readUpdates(connection);
  const write = async (text: string): Promise<void> => {
    if (gone.signal.aborted || socket.write(text)) return;
    await once(socket, 'drain', { signal: gone.signal }).catch(() => undefined);
  };
  if (kind === 'dry-run') await push.tried(path.join(' '), write, gone.signal);
  else await push.received(new Set(updates), write, gone.signal);
  if (!gone.signal.aborted) socket.end(END);
}

/** Returns the refs in the input of a post-receive hook, which has one `OLD NEW REF` per line: githooks(5). */
async function readUpdates({ socket, rest }: LocalConnection): Promise<string[]> {
  const chunks: Buffer[] = [rest];
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) chunks.push(chunk as Buffer);
  const lines = Buffer.concat(chunks).toString('utf8').split('\n');
  return lines.flatMap((line) => (line === '' ? [] : [line.split(' ').slice(2).join(' ')]));
}
