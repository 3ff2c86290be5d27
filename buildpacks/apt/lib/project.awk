# Prints the strings of `packages = [ … ]` in the table [apt] of a project.toml, as LINE<TAB>STRING, or LINE<TAB>! if
# the value is not a list of strings. Parses a subset of https://toml.io/en/v1.0.0 that is enough for names: no escapes,
# and no line breaks within a string.
NR == 1 { sub(/^\357\273\277/, "") }
/^[[:space:]]*\[/ && !inside { in_apt = $0 ~ /^[[:space:]]*\[[[:space:]]*apt[[:space:]]*\][[:space:]]*(#.*)?$/; next }
!in_apt { next }
{
  text = $0
  sub(/\r$/, "", text)
  if (!inside) {
    if (text !~ /^[[:space:]]*packages[[:space:]]*=/) next
    sub(/^[[:space:]]*packages[[:space:]]*=[[:space:]]*/, "", text)
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
    if ((first != "\"" && first != "'") || needs_comma) wrong()
    text = substr(text, 2)
    end = index(text, first)
    if (end == 0 || (first == "\"" && index(substr(text, 1, end), "\\"))) wrong()
    print NR "\t" substr(text, 1, end - 1)
    text = substr(text, end + 1)
    needs_comma = 1
  }
}
END { if (inside && !is_wrong) print NR "\t!" }
function wrong() { is_wrong = 1; print NR "\t!"; exit }
