# Makes the Java runtime of a tool, and the key store of the machine's certificates. Sourced by bin/build.

# find_certificates: sets $certificates to the path of a key store with the machine's certificates, or to nothing if the
# machine has none.
find_certificates() {
  local pem=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt} layer=$CNB_LAYERS_DIR/certificates sum
  certificates=''
  [[ -s $pem ]] || return 0
  sum=$(sha256sum "$pem" | cut -d' ' -f1)
  if [[ ! -s $layer/cacerts ]] || ! grep -qsF "\"$sum\"" "$layer.toml"; then
    mkdir -p "$layer"
    if ! "$jdk/bin/java" "$CNB_BUILDPACK_DIR/lib/Certificates.java" "$pem" "$layer/cacerts" 2>&1 | indent; then
      echo " !     Java cannot read the certificates in $pem, and trusts its own."
      return 0
    fi
  fi
  printf '[types]\ncache = true\n\n[metadata]\nkey = "%s"\n' "$sum" >"$layer.toml"
  certificates=$layer/cacerts
}

# make_runtime: makes a Java runtime from the JDK $jdk in the layer $runtime, or keeps the runtime of the last build if
# it has the same version
make_runtime() {
  local modules=java.se,jdk.crypto.ec,jdk.unsupported,jdk.zipfs,jdk.management,jdk.httpserver,jdk.localedata,jdk.charsets,jdk.naming.dns
  if [[ ! -x $runtime/bin/java-program ]] || ! grep -qsF "\"$version\"" "$runtime.toml"; then
    echo "-----> Making a Java runtime"
    rm -rf "$runtime"
    "$jdk/bin/jlink" --add-modules "$modules" --strip-debug --no-man-pages --no-header-files --output "$runtime" 2>&1 | indent
    # Rename the program java, because the script lib/java takes its place: scripts of tools start $JAVA_HOME/bin/java.
    mv "$runtime/bin/java" "$runtime/bin/java-program"
  fi
  install -m 755 "$CNB_BUILDPACK_DIR/lib/java" "$runtime/bin/java"
  if [[ -n $certificates ]]; then install -m 644 "$certificates" "$runtime/lib/security/cacerts"; fi
  mkdir -p "$runtime/env"
  printf %s "$runtime" >"$runtime/env/JAVA_HOME.override"
  printf '[types]\nlaunch = true\ncache = true\n\n[metadata]\nversion = "%s"\n' "$version" >"$runtime.toml"
}
