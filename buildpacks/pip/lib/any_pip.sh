# Sourced by the buildpacks pip and uwsgi, for the one package that each of them brings.

# Any pip will do: the system's, or the one that Python or Debian brings for new environments.
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
  echo " !     There is no pip on this machine: install the Debian package python3-venv."
  return 1
}
