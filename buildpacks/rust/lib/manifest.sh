# Reads Cargo.toml and rust-toolchain.toml. Sourced by bin/detect and bin/build.

# plain FILE: prints a file without what Windows adds, and with an empty line for each line that is only a comment
plain() { LC_ALL=C tr -d '\000\r' <"$1" | LC_ALL=C sed -e $'1s/^\xef\xbb\xbf//' -e 's/^[[:space:]]*#.*//'; }

# Tells whether a package of the source has a program
has_program() {
  local found
  found=$(find . \( -name .git -o -name target -o -name vendor -o -name node_modules \) -prune -o \
    \( -path '*/src/main.rs' -o -path '*/src/bin/*' \) -print -o -name Cargo.toml -exec grep -l '^\[\[bin\]\]' {} \;)
  [[ -n $found ]]
}

# wanted_rust: sets $wanted, the channel that the source asks for, such as 1.85, 1.85.1 or nightly-2026-01-31 (empty =
# any), and $said_by, the file. rustup prefers the file without a suffix.
wanted_rust() {
  wanted='' said_by=''
  for said_by in rust-toolchain rust-toolchain.toml; do
    [[ -f $said_by ]] || continue
    wanted=$(plain "$said_by" | sed -nE 's/^[[:space:]]*channel[[:space:]]*=[[:space:]]*["'\'']([^"'\'']*)["'\''].*/\1/p' | head -n 1)
    if [[ -z $wanted && $said_by == rust-toolchain ]]; then wanted=$(plain "$said_by" | grep -vE '[[:space:]]*\[|=|^[[:space:]]*$' | tr -d ' \t' | head -n 1 || true); fi
    return 0
  done
}

# package_field KEY: prints a text of [package] in the Cargo.toml at the top
package_field() { plain Cargo.toml | awk -v key="$1" '/^\[/ { inside = ($1 ~ /^\[package\]/) } inside && $1 ~ "^" key "(=|$)" { if (split($0, parts, /["'\'']/) > 2) print parts[2]; exit }'; }
