# Finds cargo. Sourced by bin/build.

# rustup_server: prints the address from which rustup downloads
rustup_server() { local server=${RUSTUP_DIST_SERVER:-https://static.rust-lang.org}; echo "${server%/}"; }

# rustup_install CHANNEL: installs a channel and puts it into PATH. CHANNEL may be empty: rustup then reads the file of
# the tool. Fails if rustup or the channel cannot be downloaded.
rustup_install() {
  local channel=${1:-} init triple
  export RUSTUP_HOME=$rustup RUSTUP_TOOLCHAIN=$channel
  [[ -n $channel ]] || unset RUSTUP_TOOLCHAIN
  mkdir -p "$rustup"
  printf '[types]\ncache = true\n' >"$rustup.toml"
  if [[ ! -x $rustup/cargo/bin/rustup ]]; then
    triple=$(uname -m)-unknown-linux-gnu init=$(mktemp)
    echo "-----> Downloading rustup"
    if ! fetch "${RUSTUP_UPDATE_ROOT:-$(rustup_server)/rustup}/dist/$triple/rustup-init" "$init" 2>&1 | indent; then return 1; fi
    chmod +x "$init"
    # The program works as an installer only under the name rustup-init.
    mv "$init" "${TMPDIR:-/tmp}/rustup-init"
    # RUSTUP_INIT_SKIP_PATH_CHECK keeps rustup from warning of the system's Rust. `sed` leaves out rustup's advice about
    # PATH.
    CARGO_HOME=$rustup/cargo RUSTUP_INIT_SKIP_PATH_CHECK=yes "${TMPDIR:-/tmp}/rustup-init" -y --no-modify-path --profile minimal --default-toolchain none 2>&1 |
      sed -u -n '/^\(info\|warn\|error\):/p' | indent || return 1
  fi
  echo "-----> Installing Rust ${channel:-$wanted}"
  # shellcheck disable=SC2086
  CARGO_HOME=$rustup/cargo "$rustup/cargo/bin/rustup" toolchain install --profile minimal --no-self-update $channel 2>&1 | indent || return 1
  export PATH=$rustup/cargo/bin:$PATH
}

# find_rust: chooses the system's Rust if it fits, or else installs a Rust with rustup. If that fails, takes a newer
# Rust of the system. Sets $version, or ends the build.
find_rust() {
  local system channel=''
  wanted_rust
  # A rustc that belongs to a rustup of the system prints no version here, because its compilers are in the home folder
  # of another user. So it does not count as the system's Rust.
  system=$(command -v rustc >/dev/null && rustc --version 2>/dev/null | sed -nE 's/^rustc ([0-9.]+).*/\1/p' || true)
  if [[ -n $wanted && ! $wanted =~ ^(stable|beta|nightly|[0-9]+\.[0-9]+(\.[0-9]+)?)(-.*)?$ ]]; then
    echo " !     $said_by asks for Rust \"$wanted\", which is not a version: write channel = \"${system:-1.85}\" or channel = \"stable\"."
    exit 1
  fi
  case $wanted in
    '' | stable | stable-x86_64* | "$system" | "${system%.*}") [[ -n $system ]] && version=$system && return ;;
  esac
  [[ -z $wanted ]] && channel=stable
  if rustup_install "$channel"; then
    version=$(rustc --version | cut -d' ' -f2)
    return
  fi
  if [[ -z $system ]]; then
    echo " !     There is no Rust on this server, and $(rustup_server) does not answer: ask the operator to install the Debian packages cargo and rustc.$(in_stack 'Rust 1.85')"
    exit 1
  fi
  # If the system's Rust is newer than the wanted version, take it, because newer compilers compile older code.
  if [[ $wanted =~ ^[0-9.]+$ && $(printf '%s\n' "$wanted" "$system" | sort -V | tail -n 1) == "$system" ]]; then
    echo " !     $said_by asks for Rust $wanted, which cannot be downloaded, because $(rustup_server) does not answer. Rust $system is used."
    version=$system
    return
  fi
  echo " !     $said_by asks for Rust $wanted, which cannot be downloaded, because $(rustup_server) does not answer. This server has Rust $system: delete $said_by, or write channel = \"${system%.*}\"."
  exit 1
}
