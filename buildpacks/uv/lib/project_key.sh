# Tells whether uv would install anything new. Sourced by bin/build.

# project_key: prints a key. While it does not change, uv would install what is installed already. Fails if that cannot
# be known: if another folder of the repository is a package too, or if the package of the tool is more than links to
# its source (compiled modules, copied files, metadata out of the source). The names of all files belong to the key,
# because some build backends link each file or folder.
project_key() {
  local backends='setuptools\.build_meta|hatchling\.build|uv_build|flit_core\.buildapi|poetry\.core\.masonry\.api|pdm\.backend'
  local more='dynamic[[:space:]]*=|^[[:space:]]*build[[:space:]]*=|force-include|shared-(data|scripts)|extra-metadata|external-data'
  more+='|script-files|data-files|config-settings|type *= *.file.|cache-keys|ext-modules|cmdclass|hooks|backend-path|tool\.(pdm|poetry)\.build'
  [[ ! -f setup.py && ! -f setup.cfg && ! -f hatch.toml && -z ${UV_NO_EDITABLE:-} ]] || return 1
  # The second grep has no -q: with -q it would end early, and the first grep would fail because it can no longer write.
  ! grep -E '(editable|directory|virtual|path) = "' uv.lock | grep -vE '(editable|virtual) = "\."' >/dev/null || return 1
  ! grep -qE "$more" pyproject.toml || return 1
  ! grep -q '^\[build-system\]' pyproject.toml || grep -qE "^build-backend *= *[\"']($backends)[\"']" pyproject.toml || return 1
  { { env | LC_ALL=C sort | grep '^UV_' || true; } && cat uv.lock pyproject.toml && { [[ ! -f uv.toml ]] || cat uv.toml; } && find . -path ./.git -prune -o -print | LC_ALL=C sort; } | sha256sum | cut -d' ' -f1
}
