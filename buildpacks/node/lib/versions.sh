# Finds out which Node version the tool asks for. Sourced by bin/detect and bin/build.

# The long-term support release for tools that ask for no version.
default_major=24

# wanted_node LINES: sets $wanted (an npm range; empty = any) and $said_by (the file that names it). LINES are those of
# package.json.
wanted_node() {
  wanted=$(field "$1" 'engines|node') said_by='package.json'
  [[ -n $wanted ]] && return
  local file
  for file in .nvmrc .node-version; do
    [[ -f $file ]] || continue
    # In PowerShell, `node -v >.nvmrc` writes UTF-16 with a byte order mark.
    wanted=$(head -n 1 "$file" | LC_ALL=C tr -d 'v \r\000\357\273\277\376\377') said_by=$file
    [[ $wanted =~ ^[0-9] ]] && return
  done
  if [[ -f service.template ]]; then
    wanted=$(sed -nE "s/^$bom"'type:[[:space:]]*["'\'']?node([0-9]+).*/\2/p' service.template | head -n 1) said_by=service.template
    [[ -n $wanted ]] && return
  fi
  wanted='' said_by=''
}

# fits MAJOR RANGE: tells whether the range allows the major version
fits() {
  local major=$1 part word words operator number minor isin
  while IFS= read -r part; do
    isin=1
    # Rewrites `>= 18` as `>=18`, and `18 - 20` as `>=18 <=20`
    part=$(sed -E 's/([<>=^~]) +/\1/g; s/([0-9x.*]+) +- +([0-9x.*]+)/>=\1 <=\2/g' <<<"$part")
    # Splits into an array, because the shell would replace a bare `*` by the names of all files.
    read -ra words <<<"$part"
    for word in "${words[@]}"; do
      [[ $word =~ ^([<>=^~v]*)([0-9]+|[xX*])(\.([0-9]+))? ]] || continue
      operator=${BASH_REMATCH[1]//v/} number=${BASH_REMATCH[2]} minor=${BASH_REMATCH[4]:-0}
      [[ $number =~ ^[xX*]$ ]] && continue
      case $operator in
        '>=') ((major >= number)) || isin=0 ;;
        '>') if [[ $word == *.* ]]; then ((major >= number)) || isin=0; else ((major > number)) || isin=0; fi ;;
        '<=') ((major <= number)) || isin=0 ;;
        '<') if ((minor > 0)); then ((major <= number)) || isin=0; else ((major < number)) || isin=0; fi ;;
        *) ((major == number)) || isin=0 ;;
      esac
    done
    ((isin)) && return 0
  done < <(sed 's/||/\n/g' <<<"$2")
  return 1
}

# choose_major RANGE MAJORS…: prints the default major version if the range allows it, else the newest even one that the
# range allows, else the newest odd one. Prints nothing if the range allows none.
choose_major() {
  local range=$1 major best=''
  shift
  if [[ -z $range ]] || fits "$default_major" "$range"; then
    for major in "$@"; do [[ $major == "$default_major" ]] && { echo "$major"; return; }; done
  fi
  for major in "$@"; do
    fits "$major" "$range" || continue
    if ((major % 2 == 0)) || [[ -z $best ]] || ((best % 2)); then best=$major; fi
  done
  echo "$best"
}

# choose_version RANGE MAJOR VERSIONS…: prints the version to install. If RANGE is an exact version that exists, prints
# it. If RANGE names a minor version, such as 20.11, prints the newest version of it. Otherwise prints the newest
# version of MAJOR. VERSIONS are sorted. No pipe here ends in `grep -q`, which ends before the program that writes to
# it, and that program would fail.
choose_version() {
  local range=$1 major=$2 minor version found=''
  shift 2
  [[ $range =~ ^[v=~]*([0-9]+\.[0-9]+)(\.[0-9xX*]+)?$ ]] && minor=${BASH_REMATCH[1]} || minor=none
  for version in "$@"; do
    [[ $range =~ ^[v=]*([0-9.]+)$ && ${BASH_REMATCH[1]} == "$version" ]] && { echo "$version"; return; }
    [[ $version == "$minor".* ]] && found=$version
  done
  if [[ -z $found ]]; then
    for version in "$@"; do [[ $version == "$major".* ]] && found=$version; done
  fi
  echo "$found"
}
