# Installs the modules that a Perl tool requires. Sourced by bin/build.

# cpanm also installs what a cpanfile requires only for tests and development. This Perl code, put before the text of
# the cpanfile, leaves these requirements out.
without_tests='BEGIN { my $on = \&on; *on = sub { $on->(@_) unless $_[0] =~ /^(test|develop)$/ }; *test_requires = *author_requires = sub {} }'

# install_modules: fills the layer $modules with what cpanfile, Makefile.PL or Build.PL requires and Perl does not have
# yet. The versions come from cpanfile.snapshot, if there is one.
install_modules() {
  local key log index folder=. options=(--notest --quiet --installdeps)
  key=$({ echo "$version ${PERL_CPANM_OPT:-}" && cat cpanfile{,.snapshot} {Makefile,Build}.PL && ls -R vendor/cache; } 2>/dev/null | sha256sum | cut -d' ' -f1 || true)
  if [[ -d $modules/lib ]] && grep -qsF "\"$key\"" "$modules.toml"; then
    echo "-----> Reusing the installed modules: $manifest has not changed"
    keep_modules "$key"
    return
  fi
  command -v cpanm >/dev/null || fail "There is no cpanm on this server: ask its operator to install the Debian package cpanminus.$(in_stack cpanm)"
  rm -rf "$modules" "$modules.toml"
  mkdir -p "$modules/lib/perl5"
  echo "-----> Installing the modules of $manifest"
  export PERL_CPANM_HOME=${TMPDIR:-/tmp}/cpanm PERL_MM_USE_DEFAULT=1 NONINTERACTIVE_TESTING=1
  # Perl puts the keys of a hash into another order in each run. cpanm and Makefile.PL write hashes into files, which
  # would differ in each build.
  export PERL_HASH_SEED=0
  log=$(mktemp) index=$(mktemp)
  # Use the archives of modules that `carton bundle` has put into vendor/cache.
  [[ ! -d vendor/cache/authors ]] || options+=(--from "$PWD/vendor/cache")
  if [[ -f cpanfile.snapshot && -f cpanfile ]]; then
    perl -MCarton::Snapshot -e 'my $s = Carton::Snapshot->new(path => shift); $s->load; open my $f, ">", shift or die; $s->index->write($f)' \
      cpanfile.snapshot "$index" 2>"$log" || { indent <"$log" && fail "cpanfile.snapshot cannot be read. Run \`carton install\` to make it again, and commit it."; }
    options+=(--mirror-index "$index")
    [[ -d vendor/cache/authors ]] || options+=(--mirror https://cpan.metacpan.org)
  fi
  if [[ -f cpanfile ]]; then
    folder=$(mktemp -d)
    { printf '%s\n# line 1 "cpanfile"\n' "$without_tests" && text_of cpanfile; } >"$folder/cpanfile"
  fi
  if ! cpanm -l "$modules" "${options[@]}" "$folder" 2>&1 | tee "$log" | indent; then
    indent < <(tail -n 40 "$(grep -oE '/[^ ]+/build\.log' "$log" | tail -n 1)" 2>/dev/null || true)
    fail "$(why_not_installed "$log")"
  fi
  rm -rf "$modules/man"
  keep_modules "$key"
}

# keep_modules KEY: keeps the layer for this release and the next build. Each build must write the types of the layer
# again, because it gets the layer back without them:
# https://github.com/buildpacks/spec/blob/main/buildpack.md#layer-types
keep_modules() {
  printf '[types]\nlaunch = true\nbuild = true\ncache = true\n\n[metadata]\nkey = "%s"\n' "$1" >"$modules.toml"
}

# why_not_installed LOG: prints in one sentence why cpanm failed
why_not_installed() {
  local module failed syntax range
  module=$(sed -nE "s/^! Couldn't find module or a distribution ([A-Za-z0-9_:]+).*/\1/p; s/^! Finding ([A-Za-z0-9_:]+) .*failed.*/\1/p" "$1" | sed -n 1p)
  failed=$(sed -nE 's/^! (Installing|Configure|Configuring) (.+) failed.*/\2/p' "$1" | grep -v '^the dependencies' | sed -n 1p)
  syntax=$(sed -nE 's/^! Parsing cpanfile failed: (.* at cpanfile line [0-9]+).*/\1/p' "$1")
  range=$(sed -nE "s/.*Your Perl \(.*\) is not in the range '(.*)'.*/\1/p" "$1" | sed -n 1p)
  if [[ -n $syntax ]]; then
    echo "cpanfile cannot be read: $syntax. Often, the line before lacks a semicolon."
  elif [[ -n $range ]]; then
    echo "$manifest requires Perl ${range#v}, but this server has Perl $version. Write $version in $manifest, if your code also runs on it."
  elif [[ -n $module ]]; then
    echo "$manifest requires $module, which was not found: CPAN has no module of this name, or CPAN cannot be reached. Check the name, or write the Debian package $(debian_package "$module") into a file Aptfile."
  elif [[ -n $failed ]]; then
    echo "$failed of $manifest could not be installed. The lines above say why. If Debian has a package for it, write the name of this package into a file Aptfile."
  else
    echo "The modules of $manifest could not be installed: $(sed -nE 's/^! //p' "$1" | tail -n 1)"
  fi
}

# debian_package MODULE: prints the name that a Debian package with this module usually has
debian_package() { local name=${1//::/-}; echo "lib${name,,}-perl"; }
