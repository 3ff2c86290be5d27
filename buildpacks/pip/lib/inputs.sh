# Lists the files that say what to install, such as requirements.txt. Sourced by bin/build, after python_files.sh.

# inputs FILE: prints FILE, all other files with usual names for requirements, and the files that these include with -r
# and -c. A NUL follows each name.
inputs() {
  local file line queue
  local -A known=()
  mapfile -d '' -t queue < <(
    find . -maxdepth 4 -type f \( -name '*requirements*.txt' -o -name '*constraints*.txt' -o -path './requirements/*.txt' \
      -o -path ./pyproject.toml -o -path ./pylock.toml -o -path ./uv.toml \) -not -path '*/node_modules/*' -print0 | LC_ALL=C sort -z
  )
  queue+=("./$1")
  while [[ ${#queue[@]} -gt 0 ]]; do
    file=${queue[0]} queue=("${queue[@]:1}")
    [[ -f $file && -z ${known[$file]:-} ]] || continue
    known[$file]=1
    printf '%s\0' "$file"
    # There is a limit of 200 files, because files that include themselves as `-r ./…` would never end.
    [[ ${#known[@]} -lt 200 ]] || return 0
    while IFS= read -r line || [[ -n $line ]]; do queue+=("${file%/*}/$line"); done < <(
      text_of "$file" | sed -nE 's/^[[:space:]]*(-r|--requirement|-c|--constraint)[[:space:]=]*([^#[:space:]]+).*/\2/p'
    )
  done
}

# has_local_path FILE: tells whether one of the files that `inputs FILE` prints names a package in the tool's own source
has_local_path() {
  local file
  while IFS= read -r -d '' file; do
    case $file in
      *.toml) text_of "$file" | grep -E '^[^#]*(file:|\b(path|workspace)[[:space:]]*=)' ;;
      *) text_of "$file" | grep -E '^[[:space:]]*(-e|--editable)[[:space:]=]|^[[:space:]]*\.|file:|^[^#]*@[[:space:]]*\./|^[[:space:]]*[^-#@:[:space:]][^#@:[:space:]]*/' ;;
    esac >/dev/null && return 0
  done < <(inputs "$1")
  return 1
}
