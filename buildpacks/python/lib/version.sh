# Finds which Python the tool asks for, and which Pythons are installed. Sourced by bin/detect and bin/build, with
# requirements.sh.

# Sets $wanted (the version, such as 3.11; empty = any) and $said_by (the file that names it).
wanted_python() {
  local text file
  wanted='' said_by=''
  # The folders in which Toolforge's webservice looks. The server refuses a source with more than one such file.
  for file in service.template www/python/src/service.template; do
    [[ -f $file ]] || continue
    text=$(text_of "$file" | sed -nE 's/^type:[[:space:]]*["'\'']?python([0-9.]*).*/v\1/p' | sed -n 1p)
    [[ -n $text ]] || continue
    text=${text#v}
    take "${text:-3}" service.template && return
  done
  if [[ -f .python-version ]]; then
    text=$(text_of .python-version | grep -oE '^(python-|cpython-)?[23](\.[0-9]+)*' | sed -n 1p || true)
    take "${text##*-}" .python-version && return
  fi
  if [[ -f runtime.txt ]]; then
    text=$(text_of runtime.txt | grep -oE '^python-[23](\.[0-9]+)*' | sed -n 1p || true)
    take "${text##*-}" runtime.txt && return
  fi
  return 0
}

# take VERSION FILE: sets $said_by to FILE, and $wanted to the version: 3.11.4 counts as 3.11, 3.09 as 3.9, and 3 as any
take() {
  [[ $1 =~ ^([23])(\.([0-9]+))? ]] || return 1
  said_by=$2
  if [[ -n ${BASH_REMATCH[3]} ]]; then wanted=${BASH_REMATCH[1]}.$((10#${BASH_REMATCH[3]})); fi
  if [[ ${BASH_REMATCH[1]} == 2 ]]; then wanted=${wanted:-2.7}; fi
  return 0
}

# Prints N of each python3.N that the base system has, sorted
minors_here() {
  local folder file
  for folder in /usr/local/bin /usr/bin /opt/homebrew/bin; do
    for file in "$folder"/python3.*; do
      [[ $file =~ /python3\.([0-9]+)$ && -x $file ]] && printf '%s\n' "${BASH_REMATCH[1]}"
    done
  done | sort -nu
}

# Sets $chosen (the version, such as 3.11; empty = there is no Python). It is the wanted version if installed, else the
# nearest, and the newer one of two that are equally near.
choose_python() {
  local minor distance best='' want=${wanted#3.}
  chosen=''
  if [[ -z $wanted ]]; then
    chosen=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true)
    return 0
  fi
  [[ $wanted == 2* ]] && want=0
  while read -r minor; do
    distance=$((minor > want ? minor - want : want - minor))
    if [[ -z $best || $distance -le $best ]]; then best=$distance chosen=3.$minor; fi
  done < <(minors_here)
}
