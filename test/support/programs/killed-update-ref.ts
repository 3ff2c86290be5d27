import { chmod, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * The moments at which `git update-ref` can get SIGKILL, in this order: before it locks a ref; when it has locked all
 * refs but not said so; when it is told to commit; when it has moved one ref and the others are locked; when it has
 * moved all refs but not said so.
 */
export const MOMENTS = ['starting', 'locked', 'told to commit', 'half committed', 'committed'] as const;
export type Moment = (typeof MOMENTS)[number];

// A `git` for the front of PATH. It runs the real git, or kills an update-ref at the moment that the file ORDER names.
const WRAPPER = String.raw`#!/usr/bin/perl
use strict; use IPC::Open2;
my ($real, $order) = ('REAL', 'ORDER');
exec $real, @ARGV unless "@ARGV" eq 'update-ref --stdin';
open(my $file, '<', $order) or exec $real, @ARGV;
my ($count, $moment) = <$file> =~ /^(\d+) (.*)$/; close $file;
exec $real, @ARGV unless $count;
open($file, '>', $order); print $file $count - 1, " $moment\n"; close $file;
kill 'KILL', $$ if $moment eq 'starting';
my $pid = open2(my $from, my $to, $real, @ARGV);
$| = 1; $to->autoflush(1);
sub murder { kill 'KILL', $pid; waitpid $pid, 0; kill 'KILL', $$; }
my ($isInteractive, @refs) = (0);
while (my $line = <STDIN>) {
  $isInteractive = 1 if $line eq "start\n";
  push @refs, $1 if $line =~ /^(?:update|create) (\S+)/;
  if ($line eq "commit\n") {
    murder() if $moment eq 'told to commit';
    if ($moment eq 'half committed') {
      kill 'KILL', $pid; waitpid $pid, 0;
      rename "$refs[-1].lock", $refs[-1];
      kill 'KILL', $$;
    }
  }
  print $to $line;
  next unless $line =~ /^(start|prepare|commit)$/;
  my $answer = <$from>;
  murder() if $line eq "prepare\n" && $moment eq 'locked';
  murder() if $line eq "commit\n" && $moment eq 'committed';
  print $answer;
}
# Without "start", git gets all lines at once. Kill it when it has locked all refs and moved none.
if (!$isInteractive) { print $to "prepare\n"; scalar <$from>; murder(); }
close $to; waitpid $pid, 0; exit($? >> 8);
`;

/** A folder to put first in PATH. Its `git` runs the real git, and kills `git update-ref` when a test wants this. */
export class KilledUpdateRef {
  readonly folder: string;
  readonly #order: string;

  private constructor(folder: string) {
    this.folder = folder;
    this.#order = join(folder, 'order');
  }

  static async make(folder: string, realGit: string): Promise<KilledUpdateRef> {
    await mkdir(folder, { recursive: true });
    const made = new KilledUpdateRef(folder);
    const script = WRAPPER.replace('REAL', realGit).replace('ORDER', made.#order);
    await writeFile(join(folder, 'git'), script);
    await chmod(join(folder, 'git'), 0o755);
    return made;
  }

  /** Makes the next `times` runs of `git update-ref` end by SIGKILL at `moment`. */
  async kill(moment: Moment, times: number): Promise<void> {
    await writeFile(this.#order, `${times} ${moment}\n`);
  }

  /** Stops killing. @returns how many of the `times` kills have not happened. */
  async stop(): Promise<number> {
    const left = Number.parseInt(await readFile(this.#order, 'utf8'), 10);
    await rm(this.#order);
    return left;
  }
}
