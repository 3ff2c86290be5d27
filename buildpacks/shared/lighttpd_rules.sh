# Lets lighttpd use the .lighttpd.conf of a tool, as Toolforge's webservice does. Sourced by bin/build of the buildpacks
# cgi and php, together with text.sh.
# See https://wikitech.wikimedia.org/wiki/Help:Toolforge/Web/Lighttpd

# has_rules: tells whether the tool has a .lighttpd.conf with settings
has_rules() { has_line .lighttpd.conf '^[[:space:]]*[^#[:space:]]'; }

# Prints a .lighttpd.conf line by line, so that the configuration of a buildpack can include it. Variable: python, the path
# of the tool's Python (may be empty).
#
# - Settings outside of conditions replace those of the buildpack: `:=` instead of `=`.
# - The files of the tool's home folder are in the repository.
# - Python 2 is not here, and only the Python of the buildpacks has the packages of the tool.
# - The server chooses the port, and what lighttpd reports goes to the log of the tool.
translation='{
  line = $0
  # Words in quotes may have brackets and `#`.
  bare = $0
  gsub(/"[^"]*"/, "\"\"", bare)
  sub(/#.*/, "", bare)
  if (depth == 0 && bare ~ /^[ \t]*[a-z-]+\.[a-z0-9.-]+[ \t]*[:+]?=/) {
    if (bare ~ /^[ \t]*(accesslog\.|server\.(errorlog|breakagelog|port|bind|pid-file|username|groupname|chroot)[ \t:+=])/) line = "#"
    else if (bare ~ /^[^=:+]*=/) sub(/=/, ":=", line)
  }
  depth += gsub(/[({]/, "", bare) - gsub(/[)}]/, "", bare)
  if (python != "") line = replaced(line, "\"/[^\" ]*/python[0-9.]*\"", "\"" python "\"")
  print replaced(line, "/data/project/[A-Za-z0-9_-]+", "\" + env.PWD + \"")
}

function replaced(text, pattern, by,   done) {
  while (match(text, pattern)) {
    done = done substr(text, 1, RSTART - 1) by
    text = substr(text, RSTART + RLENGTH)
  }
  return done text
}'

# write_rules FOLDER: writes two files that a configuration can include: rules.conf has the settings of .lighttpd.conf,
# and types.conf the media types of the system
write_rules() {
  text_of .lighttpd.conf | awk -v python="$(command -v python3 || true)" "$translation" >"$1/rules.conf"
  # lighttpd refuses to start if a list has a key twice, so the keys in lines about media types are left out.
  /usr/share/lighttpd/create-mime.conf.pl | awk -F '"' '
    NR == FNR { if (/^[^#]*mimetype\.assign/) types = 1; if (types) for (i = 2; i < NF; i += 2) taken[$i]; if (/\)[ \t]*$/) types = 0; next }
    !(/^[ \t]*"/ && $2 in taken)' "$1/rules.conf" - >"$1/types.conf"
}

# sets_key FOLDER KEY: tells whether rules.conf gives a value to a key of a list, such as .php
sets_key() { sed 's/^[[:space:]]*#.*//' "$1/rules.conf" | grep -E "\"${2/./\\.}\"[[:space:]]*=>" >/dev/null; }

# why_refused CONFIGURATION: prints in a few words why lighttpd cannot use a configuration that includes rules.conf.
# Prints nothing if it can.
why_refused() {
  local said
  if said=$(PORT=8000 /usr/sbin/lighttpd -tt -f "$1" 2>&1) && [[ $said != *'invalid "bin-path"'* ]]; then return; fi
  sed -E 's/^[0-9: -]+\([a-z_]+\.c\.[0-9]+\) //' <<<"$said" | awk '
    / WARNING: / || /^Warning: / { next }
    match($0, /rules\.conf line: [0-9]+ pos: [0-9]+ /) { place = substr($0, RSTART); split(place, words, " "); sub(/^rules\.conf line: [0-9]+ pos: [0-9]+ /, "", place); if (!number) { number = words[3]; if (!what) what = place } }
    !what { what = $0 }
    END { print what (number ? " (line " number ")" : "") }'
}
