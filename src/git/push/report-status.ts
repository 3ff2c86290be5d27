import { oneLine } from '../../core/progress.ts';
import { flushPacket, PacketReader, pktLine } from './pkt-line.ts';

/** The result of a push for one ref, as `git receive-pack` reports it. */
export interface RefStatus {
  readonly ref: string;
  /** Why the ref was refused. Null if it was updated. */
  readonly reason: string | null;
  /** Options of report-status-v2, for example `refname refs/deployments/ID`. */
  readonly options: readonly string[];
}

/** A report of receive-pack (gitprotocol-pack(5), "Report Status"). */
export interface Report {
  /** `ok`, or why the pack could not be unpacked. */
  readonly unpack: string;
  readonly refs: readonly RefStatus[];
}

/** Parses a report. Null if the output has no report, for example because receive-pack was killed. */
export function parseReport(bytes: Buffer): Report | null {
  const packets = new PacketReader();
  packets.push(bytes);
  let unpack: string | null = null;
  const refs: RefStatus[] = [];
  for (let packet = packets.next(); packet !== null; packet = packets.next()) {
    const line = packet.payload?.toString('utf8').replace(/\n$/, '') ?? '';
    const [word = '', ref = ''] = line.split(' ', 2);
    if (word === 'unpack') unpack = line.slice('unpack '.length);
    else if (word === 'ok') refs.push({ ref, reason: null, options: [] });
    else if (word === 'ng') refs.push({ ref, reason: line.slice(`ng ${ref} `.length), options: [] });
  }
  return unpack === null ? null : { unpack, refs };
}

/** The most characters of a reason. Longer reasons are cut, because git prints each on one line of the terminal. */
const MAX_REASON = 400;

export function encodeReport(report: Report): Buffer {
  const lines = report.refs.flatMap(({ ref, reason, options }) =>
    reason === null
      ? [pktLine(`ok ${ref}\n`), ...options.map((option) => pktLine(`option ${option}\n`))]
      : [pktLine(`ng ${ref} ${shortLine(reason)}\n`)],
  );
  return Buffer.concat([pktLine(`unpack ${shortLine(report.unpack)}\n`), ...lines, flushPacket]);
}

function shortLine(text: string): string {
  // A reason may quote the output of a build. git prints control characters unchanged, so they are removed here.
  const line = oneLine(text.slice(0, 4 * MAX_REASON));
  return line.length <= MAX_REASON ? line : `${line.slice(0, MAX_REASON - 1)}…`;
}
