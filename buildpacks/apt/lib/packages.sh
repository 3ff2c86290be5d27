# Reads which packages the tool asks for in its Aptfile and project.toml, and which packages other buildpacks
# require. The files are data: no part of them runs.
# Sourced by bin/detect and bin/build.

# Tells whether project.toml has a table of this buildpack, or the table of Heroku's buildpack for Debian packages
has_apt_table() { [[ -f project.toml ]] && grep -qE $'^(\xef\xbb\xbf)?''[[:space:]]*\[[[:space:]]*(apt|com\.heroku\.buildpacks\.deb-packages)[[:space:]]*\]' project.toml; }

fail() {
  echo " !     $1"
  exit 1
}

# plain FILE: fails if the file is larger than 64 kB, is not UTF-8 text, or contains a control character
plain() {
  [[ $(wc -c <"$1") -le 65536 ]] || fail "The $1 is larger than 64 kB. Make it smaller."
  iconv -f UTF-8 -t UTF-8 "$1" >/dev/null 2>&1 || fail "The $1 is not UTF-8 text. Save it as UTF-8."
  LC_ALL=C grep -q $'[\x01-\x08\x0b\x0c\x0e-\x1f\x7f]' "$1" && fail "The $1 contains a control character. Remove it."
  return 0
}

# Sets the lists wanted (`name`, `name/release` or a pattern such as `libmagick*`) and place (`Line 3 of the Aptfile`),
# which have one entry for each package or pattern.
read_packages() {
  local line word number=0
  local -a words
  wanted=() place=()
  if [[ -f Aptfile ]]; then
    plain Aptfile
    while IFS= read -r line || [[ -n $line ]]; do
      number=$((number + 1))
      line=${line%$'\r'}
      [[ $number -eq 1 ]] && line=${line#$'\xef\xbb\xbf'}
      # A # begins a comment only at the start of a line or after a space: the # in https://example.org/#x does not.
      [[ $line =~ ^[[:space:]]*# ]] && continue
      line=${line%%[[:space:]]#*}
      line=${line#"${line%%[![:space:]]*}"}
      line=${line%"${line##*[![:space:]]}"}
      [[ $line == *:repo:* ]] && add_package "$line" "Line $number of the Aptfile"
      read -ra words <<<"$line"
      for word in "${words[@]}"; do add_package "$word" "Line $number of the Aptfile"; done
    done <Aptfile
  fi
  if has_apt_table; then
    plain project.toml
    while IFS=$'\t' read -r number word; do
      [[ $word == '!'* ]] && fail "Line $number of project.toml: ${word#!} must be a list of names in quotes."
      add_package "$word" "Line $number of project.toml"
    done < <(LC_ALL=C awk -f "$CNB_BUILDPACK_DIR/lib/project.awk" project.toml)
  fi
  # The build plan has the packages that later buildpacks require. The builder writes each list in it on one line.
  while IFS= read -r word; do
    add_package "$word" 'A package of the build plan'
  done < <(sed -nE 's/^[[:space:]]*packages = \[(.*)\]$/\1/p' "$CNB_BP_PLAN_PATH" | tr , '\n' | sed -nE 's/^ *"([^"]*)" *$/\1/p')
  [[ ${#wanted[@]} -le 200 ]] || fail "The tool asks for more than 200 packages: ask for fewer."
}

# add_package TEXT PLACE: adds a package or a pattern to the lists wanted and place, or fails if TEXT is neither.
# The grammar of names: https://www.debian.org/doc/debian-policy/ch-controlfields.html#source
add_package() {
  local text=$1 where=$2 shown=$1
  text=${text%:"$(dpkg --print-architecture 2>/dev/null || true)"}
  [[ ${#shown} -gt 40 ]] && shown=${shown:0:40}…
  if [[ $text =~ ^[a-z0-9][a-z0-9+.-]{0,98}[a-z0-9+](/[a-z][a-z0-9-]{0,38}[a-z0-9])?$ ||
    $text =~ ^[a-z0-9][a-z0-9+.-]+[*?][a-z0-9+.*?-]{0,90}$ && $text != *.[*]* ]]; then
    wanted+=("$text") place+=("$where")
    return 0
  fi
  case $text in
    :repo:*) fail "$where: other repositories are not supported, only the package sources of this server: remove $shown" ;;
    -*) fail "$where: options of apt are not supported, only names of packages: remove $shown" ;;
    *://* | *.deb) fail "$where: files and addresses are not supported, only names of Debian packages: remove $shown" ;;
    ppa:*) fail "$where: other repositories are not supported, only the package sources of this server: remove $shown" ;;
    *.[*]*) fail "$where: in a pattern, * means any letters: write ${shown//.\*/*}" ;;
    [*?]*) fail "$where: a pattern must begin with two letters or digits: $shown" ;;
    *:*) fail "$where: packages of another architecture are not supported: write only ${shown%%:*}" ;;
    *=*) fail "$where: you cannot ask for a version, because Debian removes old versions: write only ${shown%%=*}" ;;
    *) fail "$where is not the name of a Debian package (small letters, digits, + - .): $shown" ;;
  esac
}
