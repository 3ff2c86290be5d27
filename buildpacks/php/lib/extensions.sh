# Enables the extensions of Debian packages in the layer of the buildpack apt, such as php-mongodb of an Aptfile. dpkg
# -x runs no maintainer script, which would have enabled them. Sourced by bin/build.

enable_extensions() {
  local apt=${CNB_LAYERS_DIR%/*}/toolforge_apt/apt api file name order found=()
  api=$(php -n -r 'echo basename(PHP_EXTENSION_DIR);')
  for file in "$apt/usr/lib/php/$api"/*.so; do
    name=${file##*/} name=${name%.so}
    # Skip extensions that PHP has loaded already, because PHP would warn about them.
    php -m 2>/dev/null | grep -qixF "$name" && continue
    # PHP loads extensions with a lower number first. Other extensions need the four that get the number 10.
    order=20
    [[ $name =~ ^(mysqlnd|pdo|xml|dom)$ ]] && order=10
    printf '%sextension=%s\n' "$([[ $name =~ ^(opcache|xdebug)$ ]] && echo zend_)" "$file" >"$layer/conf.d/$order-$name.ini"
    found+=("$name")
  done
  [[ ${#found[@]} -eq 0 ]] || echo "       extensions of Debian packages: ${found[*]}"
}
