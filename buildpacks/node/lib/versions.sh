# Finds out which Node version the tool asks for. Sourced by bin/detect and bin/build.

# The long-term support release for tools that ask for no version.
default_major=24

# Sets $wanted (an npm range; empty = any) and $said_by. Takes the lines of package.json.
wanted_node() {
  wanted=$(field "$1" 'engines|node') said_by='package.json'
  [[ -n $wanted ]] && return
  local file
  for file in .nvmrc .node-version; do
    [[ -f $file ]] || continue
    # PowerShell writes UTF-16 with its mark: `node -v >.nvmrc`
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
    # `>= 18` is `>=18`, and `18 - 20` is `>=18 <=20`
    part=$(sed -E 's/([<>=^~]) +/\1/g; s/([0-9x.*]+) +- +([0-9x.*]+)/>=\1 <=\2/g' <<<"$part")
    # An array, because a bare `*` would expand to the names of all files.
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

# choose_major RANGE MAJORS…: prints the default if it fits, else the newest even major version that fits, else the newest
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

# choose_version RANGE MAJOR VERSIONS…: prints the exact version, or the newest of a minor version, if the range is one and it
# exists, else the newest of the major version. VERSIONS are sorted. No pipe into `grep -q`, which ends before all is written.
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
