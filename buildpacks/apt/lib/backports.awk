# Prints a source for the backports of a release, made from the machine's own source for the release. Arguments:
# -v codename=bookworm -v release=bookworm-backports
# Reads sources in deb822 format (paragraphs) and in one-line format: sources.list(5).
BEGIN { RS = ""; FS = "\n" }
/(^|\n)Types:[^\n]*deb/ && !/(^|\n)[Ee]nabled:[[:space:]]*(no|false|0)/ {
  for (i = 1; i <= NF; i++) if ($i ~ /^Suites:/ && (" " $i " ") ~ ("[: \t]" codename "[ \t]")) found = i
  if (!found) next
  for (i = 1; i <= NF; i++) print i == found ? "Suites: " release : $i
  exit
}
{
  for (i = 1; i <= NF; i++) {
    if ($i !~ ("^deb[ \t]+(\\[[^]]*\\][ \t]+)?[^ \t]+[ \t]+" codename "[ \t]")) continue
    line = $i
    options = match(line, /\[[^]]*\]/) ? substr(line, RSTART + 1, RLENGTH - 2) : ""
    gsub(/^deb[ \t]+(\[[^]]*\][ \t]+)?/, "", line)
    count = split(line, words, /[ \t]+/)
    print "Types: deb\nURIs: " words[1] "\nSuites: " release
    components = words[3]
    for (j = 4; j <= count && words[j] !~ /^#/; j++) components = components " " words[j]
    print "Components: " components
    if (match(options, /signed-by=[^ \t]+/)) print "Signed-By: " substr(options, RSTART + 10, RLENGTH - 10)
    exit
  }
}
