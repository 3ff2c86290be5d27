/**
 * A Perl program that answers every HTTP request with the page about maintenance. Its arguments are the source folder
 * of the tool, the port, the largest size of a page in bytes, and the paths where the tool may have its own page. The
 * variables PLAIN_HEAD and OWN_HEAD are the status line and headers for the plain page and for the tool's own page.
 * PLAIN_BODY is the plain page.
 *
 * When the program listens, it prints one line: `own`, `plain`, or `large` and the path of a page that is too large.
 * Like `LocalRuntime`, the program follows no links. Eight processes answer, so that a slow client does not delay
 * others.
 */
export const PAGE_SERVER = `
use strict;
use IO::Socket::IP;
my ($root, $port, $most, @places) = @ARGV;
my ($head, $body, $kind) = (@ENV{'PLAIN_HEAD', 'PLAIN_BODY'}, 'plain');
for my $place (@places) {
  my ($folder) = $place =~ m{^(.*)/};
  next if defined $folder and -l "$root/$folder";
  next if -l "$root/$place" or not -f "$root/$place";
  if (-s "$root/$place" > $most) { $kind = "large $place"; last }
  open my $file, '<:raw', "$root/$place" or next;
  my $own = do { local $/; <$file> };
  ($head, $body, $kind) = ($ENV{OWN_HEAD}, $own // '', 'own');
  last;
}
my %listen = (LocalPort => $port, Listen => 128, ReuseAddr => 1);
my $door = IO::Socket::IP->new(%listen, LocalHost => '::', V6Only => 0)
  // IO::Socket::IP->new(%listen, LocalHost => '0.0.0.0') // die "cannot listen: $@\\n";
my $answer = "$head\\r\\nContent-Length: " . length($body) . "\\r\\nConnection: close\\r\\n\\r\\n";

sub answer {
  my ($client) = @_;
  my ($request, $part) = ('', '');
  while ($request !~ /\\n\\r?\\n/ and length $request < 65536) {
    return unless sysread $client, $part, 16384;
    $request .= $part;
  }
  my $text = $request =~ /^HEAD / ? $answer : $answer . $body;
  while (length $text) {
    my $sent = syswrite $client, $text or return;
    substr $text, 0, $sent, '';
  }
  # A connection that is closed before its request was read is reset, and the client may lose the answer.
  shutdown $client, 1;
  alarm 2;
  1 while sysread $client, $part, 65536;
}

$SIG{PIPE} = 'IGNORE';
for (1 .. 8) {
  my $child = fork // die "cannot fork: $!\\n";
  next if $child;
  for (;;) {
    my $client = $door->accept or next;
    eval { local $SIG{ALRM} = sub { die "slow\\n" }; alarm 10; answer($client) };
    alarm 0;
    close $client;
  }
}
$SIG{TERM} = sub { exit 0 };
$| = 1;
print "$kind\\n";
wait;
die "a process has ended\\n";
`;
