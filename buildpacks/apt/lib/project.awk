# Prints the strings of two lists in a project.toml, as LINE<TAB>STRING: of `packages = [ … ]` in the table [apt], and of
# `install = [ … ]` in [com.heroku.buildpacks.deb-packages]. For `{ name = "ffmpeg", … }`, as Heroku allows, the string
# is the name. If the value is no such list, prints LINE<TAB>! and what must be a list. Parses a subset of
# https://toml.io/en/v1.0.0 that is enough for names: no escapes, and no line breaks within a string.
NR == 1 { sub(/^\357\273\277/, "") }
/^[[:space:]]*\[/ && !inside {
  table = $0
  gsub(/[[:space:]]|#.*/, "", table)
  key = table == "[apt]" ? "packages" : table == "[com.heroku.buildpacks.deb-packages]" ? "install" : ""
  next
}
key == "" { next }
{
  text = $0
  sub(/\r$/, "", text)
  if (!inside) {
    if (text !~ "^[[:space:]]*" key "[[:space:]]*=") next
    sub("^[[:space:]]*" key "[[:space:]]*=[[:space:]]*", "", text)
    if (substr(text, 1, 1) != "[") wrong()
    text = substr(text, 2)
    inside = 1
    needs_comma = 0
  }
  while (inside) {
    sub(/^[[:space:]]+/, "", text)
    first = substr(text, 1, 1)
    if (first == "" || first == "#") next
    if (first == "]") { inside = 0; next }
    if (first == ",") { if (!needs_comma) wrong(); needs_comma = 0; text = substr(text, 2); continue }
    if (needs_comma) wrong()
    rest = ""
    if (first == "{" && key == "install") {
      if (!match(text, /^\{([^{}]|\{[^{}]*\})*\}/)) wrong()
      rest = substr(text, RLENGTH + 1)
      text = substr(text, 2, RLENGTH - 2)
      if (!match(text, /(^|[[:space:],])name[[:space:]]*=[[:space:]]*/)) wrong()
      text = substr(text, RSTART + RLENGTH)
      first = substr(text, 1, 1)
    }
    if (first != "\"" && first != "'") wrong()
    text = substr(text, 2)
    end = index(text, first)
    if (end == 0 || (first == "\"" && index(substr(text, 1, end), "\\"))) wrong()
    print NR "\t" substr(text, 1, end - 1)
    text = rest == "" ? substr(text, end + 1) : rest
    needs_comma = 1
  }
}
END { if (inside && !is_wrong) print NR "\t!" key " of " table }
function wrong() { is_wrong = 1; print NR "\t!" key " of " table; exit }
