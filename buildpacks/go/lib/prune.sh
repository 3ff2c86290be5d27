# Removes what no later build reads from the layer $modules. In a cluster, every build reads and stores the whole layer.
# Sourced by bin/build.

# prune_modules VERSION: removes the archives of unpacked modules, and the versions of Go that this build did not use.
# Of VERSION, such as go1.25.0, it removes the tests, and the source of Go's own programs.
prune_modules() {
  local version
  [[ -d $modules/pkg/mod/cache/download ]] || return 0
  find "$modules/pkg/mod/cache/download" -type f -name '*.zip' -delete
  for version in "$modules"/pkg/mod/golang.org/toolchain@*; do
    [[ -d $version ]] || continue
    # Go unpacks its own versions without the right to write, also with -modcacherw.
    chmod -R u+w "$version"
    if [[ $version != *"-$1."* ]]; then
      rm -rf "$version"
      continue
    fi
    rm -rf "$version/src/cmd"
    find "$version/src" -type d -name testdata -prune -exec rm -rf {} +
    find "$version/src" -type f -name '*_test.go' -delete
  done
}
