# Runs cargo, and explains its errors. Sourced by bin/build.

export CARGO_HOME=${downloads:-$CNB_LAYERS_DIR/downloads} CARGO_TARGET_DIR=${target:-$CNB_LAYERS_DIR/target} CARGO_TERM_COLOR=never CARGO_INCREMENTAL=0
messages=${TMPDIR:-/tmp}/cargo.json
# Let cargo fetch with git, because git reads the usual settings for proxies and certificates.
if command -v git >/dev/null; then export CARGO_NET_GIT_FETCH_WITH_CLI=true; fi
# With this variable, sqlx reads the queries that `cargo sqlx prepare` has checked, and needs no database.
if [[ -d .sqlx || -f sqlx-data.json ]]; then export SQLX_OFFLINE=${SQLX_OFFLINE:-true}; fi

# cargo_build OPTION…: compiles. Writes cargo's messages, which name the programs, to $messages. Shows the errors, and
# also writes them to $errors
cargo_build() {
  local -a options
  read -ra options <<<"${RUST_CARGO_BUILD_FLAGS:---release}"
  cargo build --message-format=json-render-diagnostics "${options[@]}" "$@" 2>&1 >"$messages" | show
}

# Prints the paths of the programs that cargo made
executables() { sed -nE 's/.*"executable":"([^"]+)".*/\1/p' "$messages" | sort -u; }

# Prints the default-run of the Cargo.toml at the top, or else of the first member of the workspace that has one
default_run() { grep -shE '^default-run[[:space:]]*=' Cargo.toml */Cargo.toml */*/Cargo.toml | sed -nE '1s/.*=[[:space:]]*["'\'']([^"'\'']+).*/\1/p'; }

# Compiles the packages that cargo chooses. If they have no program, compiles all members of the workspace.
compile() {
  local -a options=()
  if [[ -f Cargo.lock ]]; then
    options=(--locked)
  else
    echo " !     There is no Cargo.lock: the next build may install other versions. Remove Cargo.lock from .gitignore, and commit Cargo.lock."
    # With this variable, cargo chooses versions of packages that this compiler can compile.
    export CARGO_RESOLVER_INCOMPATIBLE_RUST_VERSIONS=fallback
  fi
  if ! cargo_build "${options[@]}"; then
    if ! has_error 'is not supported by the following package'; then explain; fi
    # Get the newest Rust. If that fails, ignore the versions for which packages ask, because packages often ask for a
    # newer compiler than they need.
    if [[ $PATH != "$rustup"/* ]] && rustup_install stable; then
      cargo_build "${options[@]}" || explain
    else
      echo "-----> Trying Rust $version nevertheless"
      options+=(--ignore-rust-version)
      needed=$(sed -nE 's/^[[:space:]]*([^ ]+ requires rustc [0-9.]+).*/\1/p' "$errors" | sort -t' ' -k4 -V | tail -n 1)
      cargo_build "${options[@]}" || explain
    fi
  fi
  if [[ -z $(executables) ]]; then cargo_build --workspace "${options[@]}" || explain; fi
}

# explain: adds what to do to the errors of cargo, and ends the build
explain() {
  local what file='' needs=${needed:-}
  what=$(reason 's/.*linker `([^`]+)` not found.*/\1/p; s/.*[Ii]s `?(cmake)`? not installed.*/\1/p; s/.*Unable to find (libclang).*/\1-dev/p; s/.*Could not find `(protoc)`.*/\1/p')
  file=$(reason 's/.*system library `([^`]+)` required by crate `([^`]+)`.*/\2 needs \1.pc/p')
  if [[ $what == cc ]]; then
    echo " !     Rust needs a linker, which this server does not have: ask its operator to install the Debian package build-essential.$(in_stack 'A linker')"
  elif [[ -n $what ]]; then
    echo " !     $what is missing: write the Debian package ${what/#protoc/protobuf-compiler} into a file Aptfile."
  elif [[ -n $file ]]; then
    echo " !     $file, which is in a Debian package whose name ends in -dev: write the name of this package into a file Aptfile."
  elif has_error 'lock file .* because --locked was passed|lock file .* needs to be updated'; then
    echo " !     Cargo.lock does not match Cargo.toml: run \`cargo update --workspace\`, commit Cargo.lock and push again."
  elif [[ -n $needs ]]; then
    echo " !     ${needs/rustc/Rust}, but this server has Rust $version: run \`cargo update\` with rust-version = \"${version%.*}\" and resolver = \"3\" in Cargo.toml, and commit Cargo.lock."
  elif has_error 'lock file version|edition20|requires rustc|this version of Cargo is older'; then
    echo " !     This tool needs a newer Rust than $version.$(in_stack 'Rust 1.85')"
  fi
  exit 1
}

# tell_port: gives Rocket its port, and warns if the source does not seem to read PORT
tell_port() {
  if grep -qsE '^name = "rocket"' Cargo.lock; then
    printf 0.0.0.0 >"$layer/env.launch/ROCKET_ADDRESS.default"
    if [[ -f $CNB_LAYERS_DIR/launch.toml ]]; then
      sed -i -E 's/^command = \["(.*)"\]/command = ["bash", "-c", "ROCKET_PORT=$PORT exec \\"$0\\"", "\1"]/' "$CNB_LAYERS_DIR/launch.toml"
    elif ! grep -qsE 'ROCKET_PORT' Procfile && ! grep -rqs --include='*.rs' PORT .; then
      echo " !     Rocket listens on the port in ROCKET_PORT: write \`web: ROCKET_PORT=\$PORT NAME\` in the Procfile."
    fi
  elif ! grep -rqsE --include='*.rs' --include='*.toml' --exclude-dir={target,vendor,.git} 'PORT|arg\(.*env' . && ! grep -qsE '^web:.*PORT' Procfile; then
    echo " !     No file *.rs reads the variable PORT. The web process must listen on 0.0.0.0 and the port in PORT."
  fi
}
