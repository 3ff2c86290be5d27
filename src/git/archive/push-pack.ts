import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import type { Log } from '../../core/log/log.ts';
import { pump, startGit } from '../git-process.ts';
import type { PushSession } from '../pack-services.ts';
import { encodeCommandList, type RefCommand } from '../push/command-list.ts';
import { PacketReader } from '../push/pkt-line.ts';
import { parseReport } from '../push/report-status.ts';

/** A push that the server itself makes, for somebody who has sent files instead of a commit. */
export interface OwnPush {
  readonly command: RefCommand;
  /** The options of `git push -o`. */
  readonly options: readonly string[];
  /** The pack file with the objects of the commit that the repository lacks. Null if the repository has all of them. */
  readonly pack: string | null;
}

/**
 * The capabilities of a git client, without those that only a real client needs. `quiet` keeps git's counting of
 * objects out of the output.
 */
const CAPABILITIES = ['report-status-v2', 'side-band-64k', 'push-options', 'quiet', 'object-format=sha1'];

/**
 * Makes a push as a git client does over HTTP, so that every check of a push applies to it.
 *
 * @param say - Gets the output for the person who pushes. Must not reject.
 * @param onSent - Called when the pack has been read, so that its file may be deleted. Must not reject.
 * @returns why the push was refused, in one line. Null if the push was accepted: the commit is live, or the options do
 * not ask for that (`detach`, `dry-run`).
 */
export async function pushPack(
  session: PushSession,
  push: OwnPush,
  {
    say,
    onSent,
    log,
  }: {
    readonly say: (bytes: Uint8Array) => Promise<void>;
    readonly onSent: () => Promise<void>;
    readonly log: Log;
  },
): Promise<string | null> {
  const child = startGit(['receive-pack', '--stateless-rpc', session.folder], session.environment);
  pump(bytesOf(push), session.incoming)
    .catch((err: unknown) => log.error({ err, deployment: session.id }, 'cannot read the pack of an archive'))
    .finally(onSent);
  pump(session.incoming, child.stdin).catch((err: unknown) =>
    log.info({ err, deployment: session.id }, 'input of a push ended early'),
  );
  const [status, , answer] = await Promise.all([
    child.status,
    pump(child.stdout, session.outgoing),
    readAnswer(session.outgoing, say),
  ]);
  if (status === null) session.close(true);
  if (answer.fatal !== null) return answer.fatal;
  const report = parseReport(answer.report);
  if (report === null) throw new Error(`git receive-pack gave no report: ${child.stderr()}`);
  const told = report.refs.find(({ ref }) => ref === push.command.ref);
  // If git could not read the pack, its report says only "abnormal exit". git has already printed the reason for the
  // person, so point to that output.
  if (/abnormal exit/.test(report.unpack)) return 'git refused these files; its own words are above';
  if (report.unpack !== 'ok') return report.unpack;
  return told === undefined ? 'git did not store the commit' : told.reason;
}

async function* bytesOf({ command, options, pack }: OwnPush): AsyncGenerator<Buffer> {
  yield encodeCommandList({
    commands: [command],
    capabilities: new Set(CAPABILITIES),
    shallow: [],
    pushOptions: options,
  });
  if (pack === null) yield emptyPack();
  else yield* createReadStream(pack) as AsyncIterable<Buffer>;
}

/** A pack of version 2 without objects (gitformat-pack(5)). */
function emptyPack(): Buffer {
  const head = Buffer.from('PACK\0\0\0\x02\0\0\0\0', 'latin1');
  return Buffer.concat([head, createHash('sha1').update(head).digest()]);
}

/**
 * Reads the answer to the push, as a git client would: band 1 has the report, band 2 texts for the person, band 3 a
 * fatal error.
 */
async function readAnswer(
  outgoing: AsyncIterable<Buffer>,
  say: (bytes: Uint8Array) => Promise<void>,
): Promise<{ readonly report: Buffer; readonly fatal: string | null }> {
  const packets = new PacketReader();
  const report: Buffer[] = [];
  let fatal: string | null = null;
  for await (const chunk of outgoing) {
    packets.push(chunk);
    for (let packet = packets.next(); packet !== null; packet = packets.next()) {
      const data = packet.payload?.subarray(1) ?? Buffer.alloc(0);
      switch (packet.payload?.[0]) {
        case 1:
          report.push(data);
          break;
        case 2:
          await say(data);
          break;
        case 3:
          fatal = data.toString().trim();
          break;
      }
    }
  }
  return { report: Buffer.concat(report), fatal };
}
