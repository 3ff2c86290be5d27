# Installs the gems of a Ruby tool. Sourced by bin/build.

# prepare_bundler: sets the variables with which Bundler works, now and when the tool runs. The gems are installed into
# the layer $gems. Gems of the system are used if their version fits.
prepare_bundler() {
  local name
  rm -rf "$settings"
  mkdir -p "$settings"/{env,env.launch,bundle}
  # Settings of the repository count, except those that say where gems are installed.
  if [[ -f .bundle/config ]]; then
    grep -vE '^BUNDLE_(PATH|DEPLOYMENT|FROZEN|BIN|CACHE_PATH|APP_CONFIG|DISABLE_SHARED_GEMS)' .bundle/config >"$settings/bundle/config" || true
  fi
  export GEM_HOME=$gems BUNDLE_PATH__SYSTEM=true BUNDLE_APP_CONFIG=$settings/bundle BUNDLE_WITHOUT=${BUNDLE_WITHOUT:-development:test}
  if [[ -f Gemfile.lock ]]; then export BUNDLE_FROZEN=true; fi
  for name in GEM_HOME BUNDLE_PATH__SYSTEM BUNDLE_APP_CONFIG BUNDLE_WITHOUT BUNDLE_FROZEN; do
    [[ -z ${!name:-} ]] || printf %s "${!name}" >"$settings/env/$name.override"
  done
  printf %s "$gems/bin" >"$settings/env/PATH.prepend"
  printf : >"$settings/env/PATH.delim"
  export PATH=$gems/bin:$PATH
  # These variables are only for the build. BUNDLER_VERSION lets the system's Bundler work with a lock file that another
  # version has written.
  BUNDLER_VERSION=$(bundle --version | sed -nE 's/^Bundler version ([0-9.]+).*/\1/p')
  export BUNDLER_VERSION BUNDLE_USER_HOME=${TMPDIR:-/tmp}/bundle BUNDLE_RETRY=${BUNDLE_RETRY:-2} BUNDLE_JOBS=${BUNDLE_JOBS:-4}
  export BUNDLE_SILENCE_ROOT_WARNING=true BUNDLE_DISABLE_VERSION_CHECK=true
}

# install_gems: installs what the Gemfile asks for
install_gems() {
  local key log
  key=$({ echo "$version $BUNDLE_WITHOUT $(uname -m)" && cat Gemfile Gemfile.lock *.gemspec "$settings/bundle/config" && ls vendor/cache; } 2>/dev/null | sha256sum | cut -d' ' -f1 || true)
  if [[ -d $gems/bin ]] && grep -qsF "\"$key\"" "$gems.toml"; then
    if [[ -f Gemfile.lock ]]; then
      echo "-----> Reusing the installed gems: Gemfile and Gemfile.lock have not changed"
    else
      echo "-----> Reusing the installed gems: Gemfile has not changed"
    fi
    keep_gems "$key"
    return
  fi
  rm -rf "$gems" "$gems.toml"
  mkdir -p "$gems/bin"
  log=$(mktemp)
  echo "-----> Installing the gems of the Gemfile with Bundler $BUNDLER_VERSION"
  # Without a lock file, the gems of the system fit as well as newer ones. Gems in vendor/cache need no network.
  if [[ ! -f Gemfile.lock || -d vendor/cache ]] && bundle install --local >"$log" 2>&1; then
    indent <"$log"
  elif ! bundle install 2>&1 | tee "$log" | indent; then
    fail "$(why_not_bundled "$log")"
  fi
  rm -rf "$gems"/{cache,doc,build_info}
  keep_gems "$key"
}

# keep_gems KEY: keeps the layer for this release and the next build. Each build must write the types of the layer
# again, because it gets the layer back without them:
# https://github.com/buildpacks/spec/blob/main/buildpack.md#layer-types
keep_gems() {
  printf '[types]\nlaunch = true\nbuild = true\ncache = true\n\n[metadata]\nkey = "%s"\n' "$1" >"$gems.toml"
}

# why_not_bundled LOG: prints in one sentence why Bundler failed
why_not_bundled() {
  local gem line
  line() { sed -nE "s/\x1b\[[0-9;]*m//g; $1" "$log" | sed -n 1p; }
  local log=$1
  gem=$(line 's/^ *An error occurred while installing ([^ ]+ \([^)]*\)).*/\1/p')
  if [[ -n $(line '/deployment mode after changing|frozen|lockfile (does not|doesn.t) have all|cannot write a changed lockfile/p') ]]; then
    echo "Gemfile and Gemfile.lock do not match. Run \`bundle install\`, commit Gemfile.lock, and push again."
  elif [[ -n $(line '/merge conflicts?/p') ]]; then
    echo "Gemfile.lock contains the marks of a merge conflict. Run \`bundle lock\`, commit Gemfile.lock, and push again."
  elif [[ -n $(line '/only supports platforms/p') ]]; then
    echo "Gemfile.lock was made for another system. Run \`bundle lock --add-platform x86_64-linux\`, commit Gemfile.lock, and push again."
  elif [[ -n $(line '/error parsing .Gemfile/p') ]]; then
    echo "Gemfile cannot be read: $(line 's/.*error parsing .Gemfile.: (\[!\] )?(.*)\. Bundler cannot continue.*/\2/p; s/.*error parsing .Gemfile.: (\[!\] )?(.*)/\2/p')$(line 's/^ *#  from .*Gemfile:([0-9]+).*/ (line \1)/p')."
  elif [[ -n $gem && -n $(line "/can't find header files for ruby/p") ]]; then
    echo "The gem $gem must be compiled, but this server has no compiler for it: ask its operator to install the Debian packages ruby-dev and build-essential.$(in_stack 'A compiler')"
  elif [[ -n $gem ]]; then
    line=$(line 's/.*(fatal error: [^ ]+: No such file).*/\1/p; s/^ *([A-Za-z:]*Error: .*)/\1/p')
    echo "The gem $gem could not be installed${line:+: $line}. If a library is missing, write the Debian package of the library (its name ends in -dev) into a file Aptfile."
  elif [[ -n $(line '/Could not (reach host|fetch specs)|Network error|Failed to open TCP|getaddrinfo|Timeout::Error|SocketError/p') ]]; then
    echo "The server with the gems cannot be reached: $(line '/Could not (reach host|fetch specs)|Network error|Failed to open TCP|getaddrinfo|Timeout::Error|SocketError/p' | sed -E 's/\. Check your network connection.*//'). Push again later, or commit the gems: bundle cache."
  elif [[ -n $(line '/^ *(Git error|fatal): /p') ]]; then
    line=$(line 's/^ *fatal: (.*)/\1/p')
    echo "A gem of the Gemfile comes from git, and git failed${line:+: ${line%.}}."
  else
    line=$(line '/Could not find |not find compatible|gemspec|required by/p')
    [[ -n $line ]] || line=$(grep -v '^ *$' "$1" | tail -n 1)
    echo "Bundler failed: ${line%.}."
  fi
}
