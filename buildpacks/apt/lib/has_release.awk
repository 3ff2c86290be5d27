# Whether sources one after another, with an empty line between them, have packages of a release: -v release=bookworm-backports
# What is switched off, or has no packages but their sources, does not count: sources.list(5).
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
