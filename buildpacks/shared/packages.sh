# Makes the virtual environment of a Python tool. Sourced by the buildpacks that install packages. They all use uv,
# which the buildpack python puts into PATH.

# shellcheck source=text.sh
source "$CNB_BUILDPACK_DIR/lib/text.sh"

venv=$CNB_LAYERS_DIR/venv downloads=$CNB_LAYERS_DIR/downloads
python=$(readlink -f "$(command -v python3)")

# Makes builds reproducible: the same input gives the same bytes. ZIP files cannot have times before 1980.
export SOURCE_DATE_EPOCH=315532801
# Packages are compiled without debugging information. This information would take room, and would name temporary
# folders, so no two builds would be equal.
export CFLAGS=${CFLAGS--O2 -g0} CXXFLAGS=${CXXFLAGS--O2 -g0}
export UV_CACHE_DIR=$downloads UV_LINK_MODE=copy UV_NO_PROGRESS=1 UV_PYTHON_DOWNLOADS=never UV_PYTHON_PREFERENCE=system UV_COMPILE_BYTECODE=1
# Let uv print each reason of a failure in one line, because the push shows only one line as the reason.
export UV_NO_WRAP=1

# Prints a setting of pip's configuration files, which uv does not read
pip_setting() {
  local file
  for file in "${PIP_CONFIG_FILE:-}" pip.conf /etc/pip.conf; do
    [[ ! -f $file ]] || sed -nE "/^\[(global|install)\]/,/^\[/s/^$1[[:space:]]*[=:][[:space:]]*//p" "$file"
  done | sed -n 1p
}

# Settings for pip also apply to uv.
use_pip_settings() {
  local index=${PIP_INDEX_URL:-} extra=${PIP_EXTRA_INDEX_URL:-} certificates=${PIP_CERT:-} hosts=${PIP_TRUSTED_HOST:-}
  index=${index:-$(pip_setting index-url)} extra=${extra:-$(pip_setting extra-index-url)} hosts=${hosts:-$(pip_setting trusted-host)}
  [[ -z $index ]] || export UV_DEFAULT_INDEX=${UV_DEFAULT_INDEX:-${UV_INDEX_URL:-$index}}
  [[ -z $extra ]] || export UV_INDEX=${UV_INDEX:-${UV_EXTRA_INDEX_URL:-$extra}}
  [[ -z $hosts ]] || export UV_INSECURE_HOST=${UV_INSECURE_HOST:-$hosts}
  [[ -z $certificates ]] || export SSL_CERT_FILE=${SSL_CERT_FILE:-$certificates}
  [[ -z ${PIP_FIND_LINKS:-} ]] || export UV_FIND_LINKS=${UV_FIND_LINKS:-$PIP_FIND_LINKS}
  return 0
}
use_pip_settings

# key_of FILE…: prints a text that changes if Python, uv, the package index or one of the files changes
key_of() {
  { echo "2 $("$python" -VV) $python $(uv --version 2>&1) $(uname -m) ${UV_DEFAULT_INDEX:-} ${UV_INDEX:-}" && sha256sum -- "$@"; } | sha256sum | cut -d' ' -f1
}

# can_reuse KEY: tells whether the environment of the last build was made with this key and its Python still runs
can_reuse() { [[ -x $venv/bin/python ]] && grep -qsF "\"$1\"" "$venv.toml" && "$venv/bin/python" -c '' 2>/dev/null; }

# Makes a new, empty environment
new_venv() {
  # A builder keeps a layer only if its TOML file exists. So this file is written first: then downloads are kept even if
  # the installation fails.
  mkdir -p "$downloads"
  printf '[types]\ncache = true\n' >"$downloads.toml"
  rm -rf "$venv" "$venv.toml"
  uv venv -q --relocatable --python "$python" "$venv" 2>&1 | indent
}

# install_packages ARGUMENT…: installs packages as pip would
install_packages() {
  UV_INDEX_STRATEGY=${UV_INDEX_STRATEGY:-unsafe-best-match} uv pip install --python "$venv/bin/python" "$@" 2>&1 | indent
}

# install_project: installs the tool itself, as a package that stays in the folder of the source
install_project() { install_packages --no-deps -e .; }

# save_venv KEY: writes the files of the layers. A later build can use the environment again if it has an equal key.
# Under the lifecycle, each build would compress and store all downloads again, which takes longer than to download
# them. So only those packages are kept that were compiled here.
save_venv() {
  local prune=(uv cache prune -q)
  [[ ! -d ${TOOLFORGE_LIFECYCLE:-/cnb/lifecycle} ]] || prune+=(--ci)
  forget_times
  "${prune[@]}" 2>&1 | indent || true
  save_layers "$1"
}

# save_layers KEY: writes the files of the layers for an environment in which nothing was installed since the last build
save_layers() {
  local version
  add_setuptools
  add_runners
  # If the layer has `linked = true`, the next build cannot write to its files. uv must be able to write to its lock
  # file, so delete this file.
  rm -f "$venv/.lock"
  mkdir -p "$downloads"
  printf '[types]\ncache = true\n' >"$downloads.toml"
  version=$(uv --version | cut -d' ' -f2)
  rm -rf "$venv/env"
  mkdir -p "$venv/env"
  printf %s "$venv" >"$venv/env/VIRTUAL_ENV.override"
  printf '[types]\nlaunch = true\nbuild = true\ncache = true\n\n[metadata]\nversion = "%s"\nkey = "%s"\nlinked = true\n' "$version" "$1" >"$venv.toml"
}

# If the tool itself is installed as a package, uv writes the times (or the inode numbers) of its source into the
# environment. They differ in each build, so this function replaces them by 0. uv then installs the tool again in the
# next build, as it does after every change of the source.
forget_times() {
  local file
  for file in "$venv"/lib/python3*/site-packages/*.dist-info/uv_cache.json; do
    [[ -f $file ]] || continue
    sed -i -E 's/"(secs_since_epoch|nanos_since_epoch|inode)":[0-9]+/"\1":0/g' "$file"
    # Remove the hash and the size of the changed file from RECORD, where both are optional.
    sed -i -E 's#^([^,]+\.dist-info/uv_cache\.json),.*#\1,,#' "${file%/*}/RECORD"
  done
}

# Installs an older setuptools if something imports pkg_resources. Many old packages do so, because environments had it
# until Python 3.11, and setuptools until its release 81.
add_setuptools() {
  local site
  site=$(echo "$venv"/lib/python3*/site-packages)
  [[ -d $site/pkg_resources ]] && return
  grep -rqsE --include='*.py' '^(import|from)[[:space:]]+pkg_resources' "$site" . || return 0
  echo "       pkg_resources is imported: setuptools<81 is installed, which has it"
  install_packages 'setuptools<81'
}

# Adds programs uv, poetry, pipenv and pdm for the running tool, unless it installs them itself: a command such as `uv run
# gunicorn app:app` then runs gunicorn, because all packages are installed already.
add_runners() {
  local name
  rm -rf "$venv/runners" "$venv/env.launch"
  mkdir -p "$venv/runners" "$venv/env.launch"
  printf %s "$venv/runners" >"$venv/env.launch/PATH.append"
  printf : >"$venv/env.launch/PATH.delim"
  for name in uv poetry pipenv pdm; do
    cat >"$venv/runners/$name" <<R
#!/bin/sh
if [ "\$1" != run ]; then
  echo "$name installs packages only in builds. A running tool can use it only as: $name run COMMAND" >&2
  exit 2
fi
shift
while :; do
  case \$1 in
    --extra | --group | --package | --env-file | --python | -p) shift 2 ;;
    -m | --module) exec python "\$@" ;;
    --) shift && break ;;
    -*) shift ;;
    *) break ;;
  esac
done
case \$1 in *.py) exec python "\$@" ;; esac
exec "\$@"
R
    chmod 755 "$venv/runners/$name"
  done
}
