# Reads package.json. Sourced by the buildpacks node and npm.

# Matches a byte order mark or nothing. Some editors on Windows write the mark at the start of a file
bom=$'(\xef\xbb\xbf)?'

# json FILE: prints the values of the file as lines of PATH<TAB>VALUE
json() {
  if [[ $(wc -c <"$1") -gt 1000000 ]]; then
    echo "$1 is larger than 1 MB" >&2
    return 1
  fi
  LC_ALL=C awk -f "$CNB_BUILDPACK_DIR/lib/json.awk" "$1"
}

# field LINES PATH: prints the value at PATH in the lines that json printed, or nothing
field() { awk -F '\t' -v path="$2" '$1 == path { print substr($0, length(path) + 2); exit }' <<<"$1"; }

# has LINES PATH: tells whether the lines that json printed have a value at PATH or below it
has() { awk -F '\t' -v path="$2" '$1 == path || index($1, path "|") == 1 { found = 1; exit } END { exit !found }' <<<"$1"; }

# is_node_tool LINES: tells from the lines of package.json whether it is more than a list of development tools.
is_node_tool() {
  has "$1" dependencies || has "$1" 'scripts|start' || has "$1" 'scripts|build' ||
    grep -qsE "^$bom"'type:[[:space:]]*["'\'']?node' service.template ||
    grep -qsE "^$bom"'[A-Za-z0-9_-]+:.*\b(node|npm|npx)\b' Procfile ||
    [[ -f server.js ]]
}
