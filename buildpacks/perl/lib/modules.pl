# Prints each module that a Perl file of the tool uses and that nothing provides, as FILE<TAB>LINE<TAB>MODULE. Reads the
# files and runs none of them. Also looks into the tool's own modules. The arguments are the files to begin with.
use strict;
use warnings;
use Cwd qw(getcwd);
use File::Basename qw(dirname);

my $root = getcwd;
my (%seen, %missing);
my @files = @ARGV;

while (defined(my $file = shift @files)) {
    next if $seen{$file}++;
    open my $in, '<', $file or next;
    my $folder = dirname $file;
    my @places = ('lib', 'local/lib/perl5', '.', $folder, "$folder/lib", "$folder/../lib", @INC);
    my $in_pod = 0;
    while (my $line = <$in>) {
        last if $line =~ /^__(END|DATA)__/;
        if ($line =~ /^=(\w+)/) { $in_pod = $1 ne 'cut'; next }
        next if $in_pod;
        # The folder may be relative to a variable, such as "$FindBin::Bin/../perl".
        if ($line =~ /^\s*use\s+lib\b(.*)/) {
            push @places, map { s{^\$[\w:]+/?|^\$\{[\w:]+\}/?}{$folder/}r } $1 =~ /["']([^"']+)["']/g;
        }
        # The pattern ends with what can follow a module in code. So "use Foo instead" in a text does not count.
        my ($module) = $line =~ /^\s*use\s+([A-Z]\w*(?:::\w+)*)\s*(?:;|\(|qw\b|["']|v?\d|-\w|\$|\w+\s*=>|$)/ or next;
        (my $path = "$module.pm") =~ s{::}{/}g;
        my ($found) = grep { -f } map { "$_/$path" } @places;
        if (!defined $found) { $missing{$module} //= "$file\t$.\t$module\n" }
        elsif ($found !~ m{^/} || $found =~ m{^\Q$root\E/}) { push @files, $found }
    }
}
print map { $missing{$_} } sort keys %missing;
