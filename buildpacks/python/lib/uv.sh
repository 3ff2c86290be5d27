# Installs uv, and with it a Python that this machine does not have. Sourced by bin/build.

uv_layer=$CNB_LAYERS_DIR/uv
uv=$uv_layer/bin/uv

# Installs the release of uv that uv.txt names, unless the layer has it. The image for builds in a cluster has it in
# /cnb/uv, so that not every tool downloads and stores it.
install_uv() {
  local pinned is_cached=true image=${TOOLFORGE_UV:-/cnb/uv/bin/uv}
  pinned=$(sed -nE 's/^uv==([0-9.]+).*/\1/p' "$CNB_BUILDPACK_DIR/lib/uv.txt")
  if [[ "$("$image" --version 2>/dev/null || true) " == "uv $pinned "* ]]; then
    rm -rf "$uv_layer"
    mkdir -p "$uv_layer/bin"
    ln -s "$image" "$uv"
    is_cached=false
  elif [[ "$("$uv" --version 2>/dev/null || true) " != "uv $pinned "* ]]; then
    echo "-----> Installing uv $pinned"
    rm -rf "$uv_layer"
    PIP_CERT=${PIP_CERT:-$(certificates)} PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 any_pip install -q --no-cache-dir \
      --no-deps --only-binary :all: --require-hashes --target "$uv_layer" -r "$CNB_BUILDPACK_DIR/lib/uv.txt" 2>&1 | sed -u 's/^/       /'
  fi
  printf '[types]\nbuild = true\ncache = %s\n' "$is_cached" >"$uv_layer.toml"
}

# Prints the file with the certificate authorities of this machine, if there is one
certificates() { [[ ! -f /etc/ssl/certs/ca-certificates.crt ]] || echo /etc/ssl/certs/ca-certificates.crt; }

# Sets $program to a Python that fits: the Python of the last build, or one that uv downloads. Then $is_shared is true,
# because the layers of other tools have equal files. If no Python fits, and only a service.template, a .tool-versions or
# a mise.toml names the version, sets $program to the nearest Python of this machine. Fails in all other cases.
download_python() {
  local list chosen asks here download versions nearest output advice
  asks=$(told asks) here=$(told here) nearest=$(told nearest)
  list=$(mktemp) output=$(mktemp)
  export UV_PYTHON_INSTALL_DIR=$layer/versions UV_CACHE_DIR=${TMPDIR:-/tmp}/uv UV_NO_PROGRESS=1 UV_SYSTEM_CERTS=${UV_SYSTEM_CERTS:-1}
  "$uv" python list --no-config --all-versions --only-downloads --output-format json >"$list" 2>"$output" || true
  chosen=$(python3 -I "$CNB_BUILDPACK_DIR/lib/version.py" choose "$list" 2>/dev/null || true)
  download=$(sed -nE 's/^download\t//p' <<<"$chosen") versions=$(sed -nE 's/^versions\t//p' <<<"$chosen")
  if [[ -n $download ]]; then
    program=$layer/versions/$download/bin/python3
    is_shared=true
    if [[ -x $program ]] && "$program" -I -c '' 2>/dev/null; then return; fi
    echo "-----> Installing $download with uv"
    rm -rf "$layer"
    if "$uv" python install --no-config --no-bin "$download" >"$output" 2>&1; then
      rm -rf "$layer"/versions/.[a-z]* "$layer"/versions/cpython-?.??-*
      # Tools cannot write beside the modules of the standard library, so the modules are compiled now.
      compgen -G "$layer/versions/$download/lib/python3*/__pycache__" >/dev/null ||
        "$program" -m compileall -q --invalidation-mode unchecked-hash "$layer/versions/$download/lib" >/dev/null || true
      # Equal files of several tools are shared only if their times are equal, too.
      find "$layer/versions" -type f -newer "$list" -exec touch -d @315532801 {} +
      return
    fi
    sed 's/^/       /' "$output"
    versions=''
  fi
  is_shared=false
  if [[ -n $nearest ]]; then
    program=$nearest
    advice="Write ${nearest##*/python} there."
    [[ $asks != service.template* ]] || advice="Write type: ${nearest##*/} into service.template."
    echo " !     $asks, which is not available: ${nearest##*/} is used. $advice$(stack_hint)"
    return
  fi
  # shellcheck disable=SC2086
  versions=$(printf '%s\n' ${here//,/ } $versions | sort -uV | paste -sd, | sed 's/,/, /g; s/\(.*\), /\1 or /')
  if [[ -n $download ]]; then
    fail "$asks, which this server cannot download. Write one of these versions there: $versions. Or ask the operator to set UV_PYTHON_INSTALL_MIRROR.$(stack_hint)"
  fi
  fail "$asks, which is not available. Write one of these versions there: $versions.$(stack_hint)"
}

# Prints that a stack has Python 3.13, if the tool asks for this version and this server has no stack
stack_hint() { [[ $(told asks) != *3.13* ]] || in_stack 'Python 3.13'; }
