# Prints the newest of the versions on standard input that an npm range allows, or nothing if it allows none. Exits with
# 2 if the text is not a range. If `prefer` is a major version, the newest version of this major comes first. Then comes
# the newest version of an even major, because these releases of Node have long-term support. Follows the grammar of
# npm's semver, without prerelease versions. Works with any POSIX awk.
#   awk -v range='>=18 <21' -v prefer=24 -f semver.awk

function key(major, minor, patch) { return (major * 100000 + minor) * 100000 + patch }

# Reads `^1.2.x` into the globals operator, parts (how many numbers it has), major, minor and patch.
function read_word(word,    numbers, count) {
  if (word !~ /^(>=|<=|>|<|=|~>|~|\^)?v?([0-9]+|[xX*])(\.([0-9]+|[xX*]))?(\.([0-9]+|[xX*]))?([-+][-+.0-9A-Za-z]*)?$/) exit failed = 2
  match(word, /^[<>=~^]*/)
  operator = substr(word, 1, RLENGTH)
  word = substr(word, RLENGTH + 1)
  sub(/^v/, "", word); sub(/[-+].*/, "", word); gsub(/[xX*]/, "x", word)
  count = split(word, numbers, ".")
  for (parts = 0; parts < count && numbers[parts + 1] != "x"; parts++);
  major = parts > 0 ? numbers[1] : 0; minor = parts > 1 ? numbers[2] : 0; patch = parts > 2 ? numbers[3] : 0
}

# The first version after all versions that the word names: 1.3.0 for 1.2
function after_word() {
  return parts == 1 ? key(major + 1, 0, 0) : parts == 2 ? key(major, minor + 1, 0) : key(major, minor, patch) + 1
}

function at_least(version) { if (version > low) low = version }
function below(version) { if (version < high) high = version }

# Narrows [low, high) to the versions that one word allows.
function narrow(word) {
  read_word(word)
  if (parts == 0) { if (operator == "<" || operator == ">") high = 0; return }
  if (operator == ">") { at_least(after_word()); return }
  if (operator == "<=") { below(after_word()); return }
  if (operator == "<") { below(key(major, minor, patch)); return }
  at_least(key(major, minor, patch))
  if (operator == ">=") return
  if (operator ~ /~/) { if (parts == 3) parts = 2 }
  else if (operator == "^") { if (major > 0) parts = 1; else if (minor > 0 && parts == 3) parts = 2 }
  below(after_word())
}

function read_range(    sets, words, count, i, j) {
  while (match(range, /[<>=~^][ \t]+/)) range = substr(range, 1, RSTART) substr(range, RSTART + RLENGTH)
  sets_count = split(range, sets, /[ \t]*\|\|[ \t]*/)
  if (sets_count == 0) { sets_count = 1; sets[1] = "" }
  for (i = 1; i <= sets_count; i++) {
    low = 0; high = key(100000, 0, 0)
    count = split(sets[i], words, " ")
    for (j = 1; j <= count; j++) {
      if (words[j + 1] == "-" && j + 2 <= count) { narrow(">=" words[j]); narrow("<=" words[j + 2]); j += 2 }
      else narrow(words[j])
    }
    lows[i] = low; highs[i] = high
  }
}

BEGIN { read_range() }

{
  split($1, version, ".")
  this = key(version[1], version[2], version[3])
  for (i = 1; i <= sets_count; i++) {
    if (this < lows[i] || this >= highs[i]) continue
    rank = prefer == "" ? 1 : version[1] == prefer ? 3 : version[1] % 2 == 0 ? 2 : 1
    if (rank > best_rank || (rank == best_rank && this > best)) { best_rank = rank; best = this; found = $1 }
  }
}

END { if (failed) exit failed; if (found != "") print found }
