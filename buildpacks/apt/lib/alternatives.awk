# Prints the links that update-alternatives in a maintainer script would make, as PRIORITY<TAB>LINK<TAB>PATH. The script
# is read, never run. This parser knows the shell syntax that such scripts use: comments, continued lines, assignments
# and `for … in … do`. It skips commands with any other syntax in their words.
{
  sub(/\r$/, "")
  if (sub(/\\$/, "")) { held = held $0 " "; next }
  line = held $0
  held = ""
  if (line ~ /^[ \t]*#/) next
  gsub(/[ \t]+/, " ", line)
  sub(/^ /, "", line)
  read_line(line)
}

function read_line(line,    words, count, i, name) {
  if (line ~ /^for [A-Za-z_][A-Za-z_0-9]* in /) {
    split(line, words, " ")
    depth++
    variable[depth] = words[2]
    sub(/^for [^ ]+ in /, "", line)
    sub(/ *;.*$/, "", line)
    list[depth] = plain(line)
    return
  }
  if (line ~ /^done( |;|$)/) { if (depth) depth--; return }
  if (line ~ /^[A-Za-z_][A-Za-z_0-9]*=/) {
    name = substr(line, 1, index(line, "=") - 1)
    value[name] = plain(substr(line, index(line, "=") + 1))
    return
  }
  if (match(line, /(^|[ ;&|])update-alternatives /)) each(substr(line, RSTART + RLENGTH), 1)
}

# Reads a command once for each value that the variables of the `for` loops around the command take
function each(words, level,    values, count, i, name) {
  if (level > depth) { command(words); return }
  name = variable[level]
  count = split(list[level], values, " ")
  for (i = 1; i <= count && emitted < 2000; i++) { value[name] = values[i]; each(words, level + 1) }
  delete value[name]
}

function command(text,    words, count, i, priority) {
  sub(/ (;|&&|\|\||>|2>).*$/, "", text)
  sub(/;.*$/, "", text)
  count = split(text, words, " ")
  for (i = 1; i <= count; i++) words[i] = plain(words[i])
  for (i = 1; i <= count; i++) if (words[i] == "--install") break
  if (i + 4 > count || words[i + 4] !~ /^[0-9]+$/) return
  priority = words[i + 4]
  emit(priority, words[i + 1], words[i + 3])
  for (i += 5; i <= count; i++) if (words[i] == "--slave") { emit(priority, words[i + 1], words[i + 3]); i += 3 }
}

function emit(priority, link, path) {
  emitted++
  if (link ~ /^\/[-A-Za-z0-9\/._+@]+$/ && path ~ /^\/[-A-Za-z0-9\/._+@]+$/ && link path !~ /\.\.\//) print priority "\t" link "\t" path
}

# Removes quotes and expands variables that the script has set. Any other variable becomes `?`
function plain(text,    result, name) {
  gsub(/["']/, "", text)
  result = ""
  while (match(text, /\$(\{[A-Za-z_][A-Za-z_0-9]*\}|[A-Za-z_][A-Za-z_0-9]*)/)) {
    name = substr(text, RSTART + 1, RLENGTH - 1)
    gsub(/[{}]/, "", name)
    result = result substr(text, 1, RSTART - 1) (name in value ? value[name] : "?")
    text = substr(text, RSTART + RLENGTH)
  }
  return result text
}
