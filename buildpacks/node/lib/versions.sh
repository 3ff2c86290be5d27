# Finds out which Node version the tool asks for. Sourced by bin/detect and bin/build.

# The long-term support release for tools that ask for no version.
default_major=24
# The oldest major version of Node for which the npm registry still has an npm and a yarn.
oldest_major=10

# node_range TEXT: prints the npm range that a version means in a version file, such as v20, lts/iron or node
node_range() {
  case ${1,,} in
    node | latest | current | stable) echo newest ;;
    lts | 'lts/*' | lts/krypton) echo "$default_major" ;;
    lts/-1 | lts/jod) echo 22 ;;
    lts/-2 | lts/iron) echo 20 ;;
    lts/hydrogen) echo 18 ;;
    lts/gallium) echo 16 ;;
    lts/fermium) echo 14 ;;
    lts/erbium) echo 12 ;;
    lts/dubnium) echo 10 ;;
    node-[0-9]*) echo "${1:5}" ;;
    v[0-9]*) echo "${1:1}" ;;
    *) echo "$1" ;;
  esac
}

# is_range TEXT: tells whether npm understands the range
is_range() { [[ $1 == newest ]] || awk -v range="$1" -f "$CNB_BUILDPACK_DIR/lib/semver.awk" </dev/null; }

# version_in FILE LINES: prints NUMBER<TAB>VERSION for the line that names a version, or nothing if there is none. LINES
# are the values of package.json.
version_in() {
  if [[ $1 == package.json ]]; then
    if has "$2" 'volta|node'; then printf '%s\t%s\n' "$(line_of package.json volta node)" "$(field "$2" 'volta|node')"; fi
    return
  fi
  # PowerShell's `>` writes UTF-16 with a byte order mark.
  LC_ALL=C tr -d '\000\r' <"$1" | LC_ALL=C sed $'1s/^\\(\xef\xbb\xbf\\|\xff\xfe\\|\xfe\xff\\)//' | awk -v file="$1" '
    file == "service.template" { if (!sub(/^type:[ \t]*["'\'']?node/, "")) next; sub(/[^0-9].*/, "") }
    file == ".tool-versions" { if ($1 !~ /^node(js)?$/) next; $0 = $2 }
    { sub(/#.*/, ""); gsub(/^[ \t]+|[ \t]+$/, "") }
    $0 != "" { print NR "\t" $0; exit }'
}

# wanted_node LINES: reads package.json, whose values are LINES, and the version files. Sets
#   wanted    an npm range, `newest`, or empty if any version will do
#   also      a second range that the version should fit: engines.node, if another file names the version
#   said_by   the file that names the version, and place, with its line
#   notes     sentences for the push
#   trouble   why no version can be chosen; empty if one can
wanted_node() {
  local file found text
  wanted='' said_by='' place='' also='' notes=() trouble=''
  if has "$1" 'engines|node'; then
    wanted=$(node_range "$(field "$1" 'engines|node')") said_by=package.json
    place="package.json line $(line_of package.json engines node)"
    is_range "$wanted" || trouble="$place: \"$wanted\" is not a version of Node. Write for example \"engines\": {\"node\": \"$default_major.x\"}."
    # An exact version needs no other file
    [[ -n $trouble || $wanted =~ ^[v=]*[0-9]+\.[0-9]+\.[0-9]+$ ]] && return
  fi
  for file in package.json .nvmrc .node-version .tool-versions service.template; do
    [[ -f $file ]] || continue
    found=$(version_in "$file" "$1")
    if [[ -z $found ]]; then
      [[ $file == .n* ]] && notes+=("$file is empty, so it chooses no version of Node")
      continue
    fi
    text=$(node_range "${found#*	}")
    if is_range "$text"; then
      also=$wanted wanted=$text said_by=$file place="$file line ${found%%	*}"
    elif [[ -n $wanted ]]; then
      notes+=("$file line ${found%%	*} is not used: \"$text\" is not a version of Node, and $place names one")
    else
      trouble="$file line ${found%%	*}: \"$text\" is not a version of Node. Write a number such as $default_major, or lts/*." said_by=$file
    fi
    return
  done
}

# choose_node VERSIONS: prints the version of VERSIONS (one a line) to install, or nothing if none fits
choose_node() {
  local range=$wanted prefer=$default_major
  [[ $wanted == newest ]] && range='*' prefer=''
  awk -v range="$range" -v prefer="$prefer" -f "$CNB_BUILDPACK_DIR/lib/semver.awk" <<<"$1"
}

refuse() {
  echo " !     $1"
  exit 1
}

# resolve_node BEFORE: sets $version to the version to install, or refuses. BEFORE is the version of the last build, or
# empty. If BEFORE still fits, the list of versions is fetched at most once a day. $headers.toml says when it was fetched
# last.
resolve_node() {
  local before=$1 versions majors
  today=$(date -u +%F)
  if [[ -n $before && -z $also && -n $(choose_node "$before") ]] && grep -qsF "checked = \"$today $wanted\"" "$headers.toml"; then
    version=$before
  elif versions=$(versions_of "$package" | awk -F . -v oldest="$oldest_major" '$1 >= oldest'); then
    version=$(choose_node "$versions")
    if [[ -n $version && -n $also && -z $(wanted=$also && choose_node "$version") ]]; then
      echo " !     $place asks for Node $wanted, but engines.node in package.json asks for \"$also\". The version of engines.node is used."
      wanted=$also said_by=package.json place="package.json line $(line_of package.json engines node)"
      version=$(choose_node "$versions")
    fi
    if [[ -z $version && $wanted =~ ^[v=]*([0-9]+\.[0-9]+)\.[0-9]+$ ]]; then
      version=$(wanted=${BASH_REMATCH[1]} && choose_node "$versions")
      [[ -z $version ]] || echo " !     $place asks for Node $wanted, which is not available: Node $version is used."
    fi
    if [[ -z $version ]]; then
      majors=$(cut -d. -f1 <<<"$versions" | sort -nu | tr '\n' ' ')
      refuse "$place asks for Node $wanted, which is not available. Ask for one of these: $majors"
    fi
  elif [[ -n $before && -n $(choose_node "$before") ]]; then
    echo " !     The list of Node versions cannot be downloaded: Node $before of the last build is used again."
    version=$before
  else
    refuse "The list of Node versions cannot be downloaded from $registry. Push again later."
  fi
}
