# Finds a pip. Sourced by bin/build, which installs uv with pip.

# any_pip ARGUMENT…: runs the system's pip. If the system has none, runs the pip that Debian or Python has for new
# environments.
any_pip() {
  local wheel
  if python3 -m pip --version >/dev/null 2>&1; then
    python3 -m pip "$@"
    return
  fi
  for wheel in /usr/share/python-wheels/pip-*.whl "$(python3 -c 'import os, sys; print(os.path.dirname(os.__file__))')"/ensurepip/_bundled/pip-*.whl; do
    [[ -f $wheel ]] || continue
    python3 "$wheel/pip" "$@"
    return
  done
  echo " !     There is no pip on this server: ask its operator to install the Debian package python3-venv."
  return 1
}
