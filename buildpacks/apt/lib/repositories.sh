# Runs apt without root. apt uses the machine's sources, keys, pins, proxies and certificates, and keeps its own files
# in the layer `state`. Sourced by bin/build. No pipe here ends in `head`: if `head` ended first, the program before it
# would fail, and the build would fail without a reason.

# The lists of packages are not fetched again for this many seconds.
day=86400

# Copies the machine's sources without options that allow unsigned repositories, and writes apt's configuration.
prepare_apt() {
  local file name release
  sources=$state/sources
  rm -rf "$sources"
  mkdir -p "$state/lists/partial" "$state/archives/partial" "$sources"
  for file in "$etc"/sources.list "$etc"/sources.list.d/*.list "$etc"/sources.list.d/*.sources; do
    [[ -r $file ]] || continue
    name=$(basename "$file")
    if [[ $name == *.sources ]]; then
      sed -E '/^(Trusted|Allow-Insecure|Allow-Weak|Allow-Downgrade-To-Insecure)[[:space:]]*:/Id' "$file" >"$sources/$name"
    else
      sed -E 's/\b(trusted|allow-insecure|allow-weak|allow-downgrade-to-insecure)=[^] ]*//Ig; s/\[[[:space:]]*\]//' "$file" >"$sources/machine-${name%.list}.list"
    fi
  done
  for release in $(printf '%s\n' "${wanted[@]}" | sed -n 's|.*/||p' | sort -u); do add_release "$release"; done

  # apt reads this file after the machine's own configuration, so its values count: apt.conf(5)
  cat >"$state/apt.conf" <<C
#clear APT::Update;
#clear DPkg;
#clear Acquire::CompressionTypes::Order;
#clear Acquire::IndexTargets::deb;
Acquire::IndexTargets::deb::Packages { MetaKey "\$(COMPONENT)/binary-\$(ARCHITECTURE)/Packages"; flatMetaKey "Packages"; ShortDescription "Packages"; Description "\$(RELEASE)/\$(COMPONENT) \$(ARCHITECTURE) Packages"; flatDescription "\$(RELEASE) Packages"; Optional "0"; };
Acquire::Languages "none";
Acquire::GzipIndexes "true";
Acquire::AllowInsecureRepositories "false";
Acquire::AllowWeakRepositories "false";
Acquire::AllowDowngradeToInsecureRepositories "false";
Acquire::Retries "2";
Acquire::http::Timeout "20";
Acquire::https::Timeout "20";
Acquire::ForceHash "SHA256";
APT::Get::AllowUnauthenticated "false";
APT::Install-Recommends "false";
APT::Install-Suggests "false";
APT::Sandbox::User "";
APT::Update::Error-Mode "any";
Debug::NoLocking "true";
Dir::Cache "$state";
Dir::Cache::archives "archives";
Dir::Cache::pkgcache "pkgcache.bin";
Dir::Cache::srcpkgcache "";
Dir::Etc "$etc";
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "$sources";
Dir::Log "$work";
Dir::State "$state";
Dir::State::status "$status";
C
}

# add_release RELEASE: if the machine has no source for the release, adds one if the release is the backports of this
# Debian, and fails otherwise
add_release() {
  local release=$1 codename
  cat_sources | awk -v release="$release" -f "$CNB_BUILDPACK_DIR/lib/has_release.awk" && return
  codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
  if [[ -z $codename || $release != "$codename-backports" ]]; then
    fail "$(place_of_release "$release"): the release $release is not available on this server. Remove /$release${codename:+, or ask for $codename-backports}."
  fi
  # shellcheck disable=SC2016
  cat_sources | awk -v codename="$codename" -v release="$release" -f "$CNB_BUILDPACK_DIR/lib/backports.awk" >"$work/backports"
  if [[ ! -s $work/backports ]]; then
    printf 'Types: deb\nURIs: http://deb.debian.org/debian\nSuites: %s\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n' "$release" >"$work/backports"
  fi
  mv "$work/backports" "$sources/backports.sources"
}

# Prints the sources that apt uses, separated by empty lines
cat_sources() {
  local file
  for file in "$sources"/*; do
    [[ -f $file ]] && cat "$file" && echo
  done
}

place_of_release() {
  local index
  for index in "${!wanted[@]}"; do
    [[ ${wanted[index]} == */"$1" ]] && echo "${place[index]}" && return
  done
}

apt() { LC_ALL=C APT_CONFIG='' apt-get -c "$state/apt.conf" "$@"; }

# Tells whether the lists of packages were fetched within a day, from the same sources as apt uses now
lists_are_fresh() {
  local at='' of=''
  # The text of the file has the time, because caches do not keep the time stamps of files.
  [[ -f $state/refreshed ]] && read -r at of <"$state/refreshed"
  [[ $of == "$sources_key" ]] && (($(date +%s) - at < day))
}

# Fetches the lists of packages. If some cannot be fetched, uses the lists of earlier builds, or fails if there are
# none.
refresh_lists() {
  local file has_lists=''
  echo "-----> Fetching Debian's lists of packages"
  is_refreshed=1
  if apt update -q >"$work/update" 2>&1; then
    echo "$(date +%s) $sources_key" >"$state/refreshed"
    return 0
  fi
  for file in "$state"/lists/*Packages*; do [[ -f $file ]] && has_lists=1; done
  { grep -E '^[EW]: ' "$work/update" || true; } | cut -c 1-300 | sed -n '1,10s/^/       /p'
  if [[ -n $has_lists ]]; then
    echo " !     Not all lists of packages could be downloaded: the available lists are used."
    return 0
  fi
  if grep -qE 'is not signed|NO_PUBKEY|EXPKEYSIG|couldn.t be verified' "$work/update"; then
    fail "The signatures of the package sources of this server cannot be verified: tell the operator."
  fi
  fail "The Debian package sources could not be reached ($(unreachable_host)): push again later, or tell the operator."
}

unreachable_host() {
  local host
  host=$(sed -nE 's|^[EW]: .*[a-z]+://([^/@ ]*@)?([^/ ]+)/.*|\2|p' "$work/update" | sed -n 1p)
  echo "${host:-no address known}"
}

# Writes the packages that the base does not have to $work/plan, as lines of `URI FILE SIZE SHA256`. Returns 1 if apt
# cannot resolve the packages; $work/resolve then says why.
resolve() {
  local name
  for name in "${wanted[@]%%/*}"; do
    if is_misread "$name"; then : >"$work/resolve" && return 1; fi
  done
  # apt gets an empty folder for downloads, because it prints no URI for a package that it finds there.
  mkdir -p "$work/none/partial"
  apt install -q -y --print-uris -o Dir::Cache::archives="$work/none" -- "${wanted[@]}" >"$work/resolve" 2>&1 || return 1
  # Packages of the libc and of the base itself are left out. The libc and its loader belong together, so a layer must
  # not have another libc.
  sed -nE "s/^'([^']+)' ([^ ]+) ([0-9]+) SHA256:([0-9a-f]{64})\$/\1 \2 \3 \4/p" "$work/resolve" |
    { grep -vE ' (libc6|libc-bin|base-files|dpkg)_[^ ]* ' || true; } | LC_ALL=C sort -k 2 >"$work/plan"
  [[ $(grep -cE "^'[^']+' " "$work/resolve") -eq $(grep -cE ' SHA256:[0-9a-f]{64}$' "$work/resolve") ]] ||
    fail "A package source of this server has no SHA-256 of its packages: tell the operator."
}

# is_misread NAME: tells whether apt would not read NAME as the name of a package. If no package has a name with . or +,
# apt reads the name as a regular expression, or drops a + at its end: apt-get(8), install.
is_misread() {
  [[ $1 == *[.+]* ]] &&
    ! LC_ALL=C APT_CONFIG='' apt-cache -c "$state/apt.conf" pkgnames "$1" 2>/dev/null | grep -xF -- "$1" >/dev/null
}

# Fails with one sentence that says why apt cannot install the packages
explain() {
  local index name missing line nearest
  for index in "${!wanted[@]}"; do
    name=${wanted[index]%%/*}
    if is_misread "$name" || grep -qE "^E: (Unable to locate package ${name//./\\.}|Package '${name//./\\.}' has no installation candidate)\$" "$work/resolve"; then
      nearest=$(nearest "$name")
      fail "${place[index]}: there is no package $name. ${nearest:+Do you mean ${nearest//, / or }? }Search: https://packages.debian.org/$name"
    fi
    if grep -qE "^E: Release '.*' for '${name//./\\.}' was not found\$" "$work/resolve"; then
      fail "${place[index]}: ${wanted[index]#*/} has no package $name. Remove /${wanted[index]#*/}, or search: https://packages.debian.org/$name"
    fi
  done
  sed -n '/unmet dependencies/,/^E: /p' "$work/resolve" | sed -n '1,20s/^/       /p'
  line=$(sed -nE '/unmet dependencies/,$ s/^ ([^ ]+) : (Depends|PreDepends|Conflicts|Breaks): ([^ ]+).*/\1 \2 \3/p' "$work/resolve" | sed -n 1p)
  if [[ -n $line ]]; then
    read -r name missing line <<<"$line"
    case $missing in
      *Depends) fail "$name cannot be installed: it depends on $line, which is not available in the needed version. Remove $name, or tell the operator." ;;
      *) fail "$name cannot be installed together with $line, which is in the base system or is needed by another package. Remove $name." ;;
    esac
  fi
  line=$(grep -E '^E: ' "$work/resolve" | tail -n 1 | cut -c 4-140)
  fail "apt cannot resolve the packages: ${line:-it gave no reason}"
}

# Downloads the packages in $work/plan and checks them. Returns 1 if that fails; $work/download then says why.
download() {
  apt install -q -y -d -- "${wanted[@]}" >"$work/download" 2>&1 || return 1
  # If the plan is empty, the base already has all packages. sha256sum would refuse an empty list.
  [[ -s $work/plan ]] || return 0
  (cd "$state/archives" && awk '{ print $4 "  " $2 }' "$work/plan" | sha256sum -c --quiet --strict >>"$work/download" 2>&1)
}
