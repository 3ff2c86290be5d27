# Explains the errors of Go. Sourced by bin/build.

# explain: says what to do about the error in $errors, and ends the build
explain() {
  local what
  what=$(reason 's/.*missing go\.sum entry for module providing package ([^ ;]+).*/\1/p; s/^(go: )?([^ ]+): missing go\.sum entry.*/\2/p; s/.*no required module provides package ([^ ;]+).*/\1/p')
  if has_error 'missing go\.sum entry'; then
    echo " !     go.sum has no line for $what: run \`go mod tidy\`, commit go.mod and go.sum, and push again."
  elif [[ -n $what ]]; then
    echo " !     go.mod has no line for $what: run \`go mod tidy\`, commit go.mod and go.sum, and push again."
  elif has_error 'updates to go\.mod needed'; then
    echo " !     go.mod does not match the source: run \`go mod tidy\`, commit go.mod and go.sum, and push again."
  elif has_error 'inconsistent vendoring'; then
    echo " !     The folder vendor does not match $file: run \`go mod vendor\`, commit vendor and push again."
  elif what=$(reason 's/^go: download go([0-9.a-z]+)[^:]*: .*/\1/p') && [[ -n $what ]]; then
    echo " !     $file asks for Go $what, which cannot be downloaded: write a version that https://go.dev/dl/ lists."
  fi
  exit 1
}
