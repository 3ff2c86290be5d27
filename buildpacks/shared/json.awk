# Prints a JSON file as lines of PATH<TAB>VALUE, one for each string, number, true, false and null. PATH is the keys and
# list positions that lead to the value, joined by `|`. Positions count from 0. Use this only for small files:
# package.json, and the npm registry's answer about one version. Works with any POSIX awk. If the text is not JSON,
# prints the line of the first error and the reason to standard error.

function fail(why,    line) {
  line = NR - gsub(/\n/, "", json) + 1
  print "line " (line > NR && NR > 0 ? NR : line) " is not valid JSON: " why > "/dev/stderr"
  failed = 1
  exit 1
}

function unescape(text,    out, pair) {
  text = substr(text, 2, length(text) - 2)
  out = ""
  while (match(text, /\\./)) {
    pair = substr(text, RSTART + 1, 1)
    out = out substr(text, 1, RSTART - 1)
    text = substr(text, RSTART + 2)
    if (pair == "u") { out = out "?"; text = substr(text, 5) }
    else if (pair ~ /[nrtbf]/) out = out " "
    else out = out pair
  }
  return out text
}

# Sets `token` to the next token and removes it from `json`.
function scan() {
  sub(/^[ \t\r\n]+/, "", json)
  if (json == "") fail("it ends too early")
  if (match(json, /^"([^"\\]|\\.)*"/) || match(json, /^[][{}:,]/) || match(json, /^(true|false|null|-?[0-9][-+0-9.eE]*)/)) {
    token = substr(json, 1, RLENGTH)
    json = substr(json, RLENGTH + 1)
  } else fail("unexpected text")
}

function value(path, depth,    key, index_) {
  if (depth > 64) fail("it is nested too deeply")
  if (token == "{") {
    scan()
    while (token != "}") {
      if (token !~ /^"/) fail("a key is missing")
      key = unescape(token)
      scan(); if (token != ":") fail("a colon is missing")
      scan(); value(path == "" ? key : path "|" key, depth + 1)
      scan()
      if (token == ",") { scan(); if (token == "}") fail("a comma too many") }
      else if (token != "}") fail("a comma is missing")
    }
  } else if (token == "[") {
    scan()
    index_ = 0
    while (token != "]") {
      value(path "|" index_++, depth + 1)
      scan()
      if (token == ",") { scan(); if (token == "]") fail("a comma too many") }
      else if (token != "]") fail("a comma is missing")
    }
  } else if (token ~ /^"/) print path "\t" unescape(token)
  else if (token ~ /^[a-z0-9-]/) print path "\t" token
  else fail("a value is missing")
}

{ json = json $0 "\n" }

END {
  if (failed) exit 1
  sub(/^\357\273\277/, "", json)
  scan()
  value("", 0)
  sub(/^[ \t\r\n]+/, "", json)
  if (json != "") fail("there is text after its end")
}
