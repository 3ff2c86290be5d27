# Finds the packages that a pattern means, and the packages that a wrong name may mean. Sourced by bin/build.

# known_packages: prints the names of the packages that apt can install
known_packages() { LC_ALL=C APT_CONFIG='' apt-cache -c "$state/apt.conf" pkgnames 2>/dev/null; }

# expand_patterns: replaces each pattern in the list wanted by the packages whose names it matches
expand_patterns() {
  local index pattern matches name names=() places=()
  [[ ${wanted[*]} == *[*?]* ]] || return 0
  for index in "${!wanted[@]}"; do
    pattern=${wanted[index]} matches=()
    if [[ $pattern != *[*?]* ]]; then matches=("$pattern"); else
      # shellcheck disable=SC2053
      while read -r name; do [[ $name == $pattern ]] && matches+=("$name"); done < <(known_packages | LC_ALL=C sort -u)
    fi
    [[ ${#matches[@]} -gt 0 ]] || fail "${place[index]}: no Debian package has a name that matches $pattern."
    [[ ${#matches[@]} -le 50 ]] || fail "${place[index]}: ${#matches[@]} packages match $pattern. Write only the names of the packages that the tool needs."
    [[ $pattern != *[*?]* ]] || echo "       $pattern means ${matches[*]}"
    for name in "${matches[@]}"; do names+=("$name") places+=("${place[index]}"); done
  done
  wanted=("${names[@]}") place=("${places[@]}")
}

# nearest NAME: prints up to three packages whose names are like NAME, the likeliest first. First come names that differ
# only in numbers, such as libicu72 and libicu76. Then comes NAME with lib before it, or with up to four characters
# after it. Last come names in which few letters differ.
nearest() {
  known_packages | awk -v name="$1" '
    function stem(text) { sub(/t64$/, "", text); gsub(/[0-9.]+/, "#", text); sub(/#$/, "", text); return text }
    function distance(a, b,    i, j, cost, old, row, la, lb) {
      la = length(a); lb = length(b)
      for (j = 0; j <= lb; j++) row[j] = j
      for (i = 1; i <= la; i++) {
        old = row[0]; row[0] = i
        for (j = 1; j <= lb; j++) {
          cost = old + (substr(a, i, 1) != substr(b, j, 1)); old = row[j]
          if (row[j] + 1 < cost) cost = row[j] + 1
          if (row[j - 1] + 1 < cost) cost = row[j - 1] + 1
          row[j] = cost
        }
      }
      return row[lb]
    }
    BEGIN { wanted = stem(name); size = length(name); most = size < 5 ? 1 : 2 }
    $0 == name { next }
    stem($0) == wanted { print 0, length($0), $0; next }
    $0 == "lib" name || $0 == name "-dev" || index($0, name) == 1 && length($0) <= size + 4 { print 1, length($0), $0; next }
    substr($0, 1, 1) == substr(name, 1, 1) && length($0) - size <= most && size - length($0) <= most {
      d = distance(name, $0)
      if (d <= most) print d, length($0), $0
    }' | LC_ALL=C sort -k 1,1n -k 2,2n -k 3,3 | awk 'NR <= 3 { text = text (NR == 1 ? "" : ", ") $3 } END { printf "%s", text }'
}
