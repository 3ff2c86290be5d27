# Shows the output of a compiler, and finds the reason of a failure in it. Sourced by the buildpacks of languages with a
# compiler, before their other parts.

errors=${TMPDIR:-/tmp}/compiler.txt

indent() { sed -u 's/^/       /'; }

# show: shows the standard input, and keeps it in $errors for `reason`
show() { tee "$errors" | indent; }

# reason SCRIPT: prints the first line that a script of `sed -nE` finds in $errors
reason() { sed -nE "$1" "$errors" | head -n 1; }

# has_error PATTERN: tells whether $errors matches an extended regular expression
has_error() { grep -qE "$1" "$errors"; }

# keep_folders FOLDER…: makes layers that only the next build gets, such as one for downloads. Call this before the
# compiler starts: if the compiler fails, the builder keeps only layers that have a TOML file without metadata.
keep_folders() {
  local folder
  for folder in "$@"; do
    mkdir -p "$folder"
    printf '[types]\ncache = true\n' >"$folder.toml"
  done
}
