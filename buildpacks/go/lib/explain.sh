# Explains the errors of Go. Sourced by bin/build.

errors=${TMPDIR:-/tmp}/go.txt

# explain: says what to do about the error in $errors, and ends the build
explain() {
  local what
  what=$(sed -nE 's/.*missing go\.sum entry for module providing package ([^ ;]+).*/\1/p; s/^(go: )?([^ ]+): missing go\.sum entry.*/\2/p; s/.*no required module provides package ([^ ;]+).*/\1/p' "$errors" | head -n 1)
  if grep -q 'missing go\.sum entry' "$errors"; then
    echo " !     go.sum has no line for $what: run \`go mod tidy\`, commit go.mod and go.sum, and push again."
  elif [[ -n $what ]]; then
    echo " !     go.mod has no line for $what: run \`go mod tidy\`, commit go.mod and go.sum, and push again."
  elif grep -q 'updates to go\.mod needed' "$errors"; then
    echo " !     go.mod does not match the source: run \`go mod tidy\`, commit go.mod and go.sum, and push again."
  elif grep -q 'inconsistent vendoring' "$errors"; then
    echo " !     The folder vendor does not match $file: run \`go mod vendor\`, commit vendor and push again."
  elif what=$(sed -nE 's/^go: download go([0-9.a-z]+)[^:]*: .*/\1/p' "$errors" | head -n 1) && [[ -n $what ]]; then
    echo " !     $file asks for Go $what, which cannot be downloaded: write a version that https://go.dev/dl/ lists."
  fi
  exit 1
}
