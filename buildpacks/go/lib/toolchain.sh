# Finds a Go compiler. Sourced by bin/build.

# The first Go that fetches other versions by itself (GOTOOLCHAIN) is 1.21.
oldest_minor=21
# This version of Go is downloaded if the system has no Go that is new enough.
bootstrap=1.25.5
bootstrap_sha256=8cea6783dab64d68b38f5b81ecd38d45155a3c06638991acc6af19e0fca80edb

# find_go: sets $go to the path of a Go compiler. If the system has none that is new enough, downloads one into the
# layer $toolchain.
find_go() {
  local minor
  for go in "$(command -v go || true)" /usr/local/go/bin/go /usr/lib/go/bin/go; do
    [[ -x $go ]] || continue
    minor=$(GOTOOLCHAIN=local "$go" env GOVERSION | sed -nE 's/^go1\.([0-9]+).*/\1/p')
    [[ -n $minor && $minor -ge $oldest_minor ]] && return
  done
  go=$toolchain/bin/go
  if [[ -x $go ]] && grep -qsF "\"$bootstrap\"" "$toolchain.toml"; then return; fi
  if [[ $(uname -s)-$(uname -m) != Linux-x86_64 ]]; then
    echo " !     There is no Go on this server, and no Go to download for $(uname -m): ask the operator to install the Debian package golang (1.$oldest_minor or newer)."
    exit 1
  fi
  local proxy=${GOPROXY:-https://proxy.golang.org} zip
  proxy=${proxy%%[,|]*}
  zip=$(mktemp)
  echo "-----> Downloading Go $bootstrap"
  fetch "${proxy%/}/golang.org/toolchain/@v/v0.0.1-go$bootstrap.linux-amd64.zip" "$zip"
  if [[ $(sha256sum "$zip" | cut -d' ' -f1) != "$bootstrap_sha256" ]]; then
    echo " !     The downloaded Go $bootstrap was changed or damaged on its way. Tell the operator. Its SHA-256 is $(sha256sum "$zip" | cut -d' ' -f1)."
    exit 1
  fi
  rm -rf "$toolchain" "$toolchain.toml"
  mkdir -p "$toolchain"
  python3 -m zipfile -e "$zip" "$toolchain/zip"
  mv "$toolchain"/zip/golang.org/toolchain@*/* "$toolchain"
  rm -rf "$toolchain/zip" "$zip"
  # Make the programs executable again, because ZIP files of Go modules do not keep the modes of files.
  chmod -R a+x "$toolchain/bin" "$toolchain/pkg/tool"
  printf '[types]\ncache = true\n\n[metadata]\nversion = "%s"\n' "$bootstrap" >"$toolchain.toml"
}

# choose_toolchain: lets Go fetch the version of the comment `// +heroku goVersion`, if Go is older. Go itself reads the
# lines `go` and `toolchain`.
choose_toolchain() {
  local here
  here=$(GOTOOLCHAIN=local "$go" env GOVERSION)
  wanted_go
  if [[ $wanted =~ ^1\.[0-9]+$ ]]; then wanted+=.0; fi
  if [[ $GOTOOLCHAIN == auto && $(printf '%s\n' "${here#go}" "$wanted" | sort -V | tail -n 1) != "${here#go}" ]]; then
    export GOTOOLCHAIN=go$wanted+auto
  fi
}
