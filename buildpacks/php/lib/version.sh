# Finds out which PHP version the tool asks for. Sourced by bin/detect and bin/build.

# wanted_php: sets
#   wanted    the version, such as 8.4, or the range of composer.json; empty if any version will do
#   said_by   the file that names the version, and place, with its line
#   notes     sentences for the push
#   trouble   why no version can be chosen; empty if one can
wanted_php() {
  local file found
  wanted='' said_by='' place='' notes=() trouble=''
  if [[ -f composer.json ]]; then
    found=$(LC_ALL=C awk -f "$CNB_BUILDPACK_DIR/lib/json.awk" composer.json 2>/dev/null | sed -nE 's/^require\|php\t//p' || true)
    # bin/build compares the range with the PHP that is here.
    [[ -z $found ]] || { wanted=$found said_by=composer.json && return; }
  fi
  for file in .php-version .tool-versions service.template public_html/service.template; do
    [[ -f $file ]] || continue
    found=$(version_in "$file")
    if [[ -z $found ]]; then
      [[ $file != .php-version ]] || notes+=("$file is empty, so it chooses no version of PHP")
      continue
    fi
    said_by=$file place="$file line ${found%%	*}" wanted=${found#*	}
    if [[ ! $wanted =~ ^[0-9]+(\.[0-9]+){0,2}$ ]]; then
      trouble="$place: \"$wanted\" is not a version of PHP. Write a number such as 8.4."
    fi
    return
  done
}

# version_in FILE: prints NUMBER<TAB>VERSION for the line that names a version, or nothing
version_in() {
  text_of "$1" | awk -v file="$1" '
    file ~ /service\.template$/ { if (!sub(/^type:[ \t]*["'\'']?php/, "")) next; sub(/["'\''].*/, "") }
    file == ".tool-versions" { if ($1 != "php") next; $0 = $2 }
    { sub(/#.*/, ""); gsub(/^[ \t]+|[ \t]+$/, ""); sub(/^(php-?|v)/, "") }
    $0 != "" { print NR "\t" $0; exit }'
}

# check_version HERE: ends the build if PHP HERE (such as 8.4) cannot replace the version that a version file asks for.
# PHP HERE can replace a version that has the same major number and is not newer. requirements.php checks the range of
# composer.json.
check_version() {
  local major minor
  [[ -z $trouble ]] || fail "$trouble"
  [[ -n $wanted && $said_by != composer.json ]] || return 0
  IFS=. read -r major minor _ <<<"$wanted"
  [[ ${1%.*} == "$major" && ${1#*.} -ge ${minor:-0} ]] || fail "$place asks for PHP $wanted, but this server has only PHP $1. Write $1 there, if the tool also runs on it.$(in_stack 'PHP 8.4')"
  if [[ -n $minor && ${1#*.} != "$minor" ]]; then echo " !     $place asks for PHP $major.$minor, but this server has only PHP $1. It uses PHP $1."; fi
}
