# Finds the files of a Python tool. Sourced by the buildpacks for Python and its packages.

# shellcheck source=text.sh
source "$CNB_BUILDPACK_DIR/lib/text.sh"

# The files of a Python tool, for has_other_manifest. PHP files count only if they are the first page of a site.
python_manifests='requirements.txt|pyproject.toml|Pipfile|setup.py|*.py|!(*index).php'

# Prints every file that says which packages to install, with its installer: `pip requirements.txt`. Only the file of
# the first line is used. The order is Heroku's. Files without versions come last.
package_files() {
  local file
  [[ -f Pipfile.lock ]] && echo "pipenv Pipfile.lock"
  for file in requirements.txt www/python/src/requirements.txt; do [[ -f $file ]] && echo "pip $file"; done
  # If a tool has moved from poetry to uv or back, both lock files may exist. pyproject.toml shows which of them is in
  # use.
  if [[ -f uv.lock ]] && ! has_line pyproject.toml '^\[tool\.poetry'; then echo "uv uv.lock"; fi
  [[ -f poetry.lock ]] && echo "poetry poetry.lock"
  if [[ -f uv.lock ]] && has_line pyproject.toml '^\[tool\.poetry'; then echo "uv uv.lock"; fi
  [[ -f pylock.toml ]] && echo "pip pylock.toml"
  [[ -f Pipfile ]] && echo "pipenv Pipfile"
  if has_line pyproject.toml '^\[project\]'; then
    echo "pip pyproject.toml"
  elif has_line pyproject.toml '^\[tool\.poetry\]'; then
    echo "poetry pyproject.toml"
  elif [[ -f setup.py ]]; then
    echo "pip setup.py"
  elif has_line setup.cfg '^\[(options|metadata)\]'; then
    echo "pip setup.cfg"
  fi
  [[ -f src/requirements.txt ]] && echo "pip src/requirements.txt"
  return 0
}

# Prints the path of the file that probably names the packages of the live tool, but is not the requirements.txt at the
# top. Example: requirements/production.txt. Prints nothing if the tool has no such file.
other_requirements() {
  { compgen -G 'requirements/*.txt' || compgen -G '*requirements*.txt'; } | grep -viE 'dev|test|doc|lint|local|ci\b' | LC_ALL=C sort | awk '
    { rank = /prod|deploy|live|main/ ? 0 : /base|common/ ? 1 : 2 }
    NR == 1 || rank < best { best = rank; path = $0 }
    END { if (NR) print path }' || true
}

# detect_installer NAME: the whole bin/detect of the buildpack of an installer. Exits with 100 if another installer or
# none is used.
detect_installer() {
  local first others package_file
  first=$(package_files | sed -n 1p)
  [[ $first == "$1 "* ]] || exit 100
  package_file=${first#* }
  case $package_file in
    requirements.txt | poetry.lock | uv.lock | pylock.toml | Pipfile.lock) echo "$1" ;;
    *) echo "$1 ($package_file)" ;;
  esac
  # The note does not name manifests, because a lock file usually has its manifest beside it.
  others=$(package_files | sed 1d | cut -d' ' -f2- | grep -vxE 'Pipfile|pyproject\.toml|setup\.(py|cfg)' | paste -sd, | sed 's/,/, /g' || true)
  [[ -n $others ]] && echo "note: the packages come from $package_file. Not used: $others"
  printf '[[requires]]\nname = "python"\n\n[requires.metadata]\nlaunch = true\ninstaller = "uv"\n' >"$CNB_BUILD_PLAN_PATH"
}
