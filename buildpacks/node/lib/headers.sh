# Makes Node's headers smaller. Sourced by bin/build.

# keep_architecture FOLDER: of Node's headers in FOLDER, deletes those of OpenSSL for other architectures than that of this
# machine. They are nine tenths of all headers.
keep_architecture() {
  local all=$1/include/node/openssl/archs here
  here=linux-$(uname -m)
  [[ -d $all/$here ]] || return 0
  find "$all" -mindepth 1 -maxdepth 1 ! -name "$here" -exec rm -rf {} +
}
