# Tells whether a list of sources, separated by empty lines, has packages of a release: -v release=bookworm-backports
# Disabled sources and pure source-code entries do not count: sources.list(5).
BEGIN { RS = "" }
{
  gsub(/\n[ \t]+/, " ")
  count = split($0, lines, "\n")
  types = suites = " "
  is_off = 0
  for (i = 1; i <= count; i++) {
    line = lines[i]
    gsub(/[ \t]+/, " ", line)
    if (line ~ /^Types:/) types = substr(line, 7) " "
    if (line ~ /^Suites:/) suites = substr(line, 8) " "
    if (line ~ /^Enabled: ?(no|false|without|off|disable|0)/) is_off = 1
    if (sub(/^deb (\[[^]]*\] )?[^ ]+ /, "", line) && index(line " ", release " ") == 1) found = 1
  }
  if (!is_off && index(" " types, " deb ") && index(" " suites, " " release " ")) found = 1
}
END { exit !found }
