# Writes lighttpd's configuration for a tool with a .lighttpd.conf, after the example of Toolforge's webservice. Sourced
# by php-lighttpd, and by bin/build to check the configuration.
# See https://wikitech.wikimedia.org/wiki/Help:Toolforge/Web/Lighttpd

stop_signal=INT
start_server() { exec lighttpd -D -f "$run/lighttpd.conf"; }

# has_setting PATTERN: tells whether .lighttpd.conf has a setting that matches the extended regular expression
has_setting() { grep -qE "^[^#]*($1)" "$layer/rules.conf"; }

{
  cat <<C
server.modules = ( "mod_setenv", "mod_access", "mod_alias", "mod_redirect", "mod_rewrite", "mod_expire", "mod_fastcgi", "mod_cgi" )
server.port = env.PORT
server.document-root = "$root"
server.upload-dirs = ( "$run" )
server.tag = "lighttpd"
server.stream-response-body = 1
index-file.names = ( "index.php", "index.html", "index.htm" )
static-file.exclude-extensions = ( ".php", ".pl", ".fcgi" )
url.access-deny = ( "~", ".inc" )
include "$layer/types.conf"
\$HTTP["url"] =~ "/\.(?!well-known/)" { url.access-deny = ( "" ) }
# Tell PHP, by the variable HTTPS, if the server in front of lighttpd got the request by HTTPS.
\$REQUEST_HEADER["X-Forwarded-Proto"] == "https" { setenv.add-environment = ( "HTTPS" => "on" ) }
C
  # Do not send files such as *.py, which are programs, often with passwords, unless .lighttpd.conf makes lighttpd run
  # programs. Name each file, because index.php may answer a path such as /x.py that has no file.
  if ! has_setting 'cgi\.assign|fastcgi\.server'; then
    find "$root" -type f -printf '%P\n' | grep -E "$programs" | grep -v '"' | sed -E 's/[^A-Za-z0-9_/]/\\&/g; s|/|/+|g; s|.*|$HTTP["url"] =~ "^/+&(?:/\|$)" { url.access-deny = ( "" ) }|' || true
  fi
  [[ ! -f $root/vendor/autoload.php ]] || echo '$HTTP["url"] =~ "^/+vendor(?:/|$)" { url.access-deny = ( "" ) }'
  [[ $root != "$PWD" ]] || echo '$HTTP["url"] =~ "(?i)^/+(?:composer\.(?:json|lock|phar)|auth\.json|Procfile|Aptfile|project\.toml|service\.template|toolforge\.yaml|jobs\.yaml|app\.json)$" { url.access-deny = ( "" ) }'
  # Toolforge's webservice also runs the programs in cgi-bin.
  if [[ -d cgi-bin ]]; then
    printf 'alias.url = ( "/cgi-bin/" => "%s/cgi-bin/" )\n$HTTP["url"] =~ "^(?:/cgi-bin/)" {\n  cgi.assign = ( "" => "" )\n  url.access-deny = ( "~" )\n' "$PWD"
    bash "$layer/environment.sh"
    echo '}'
  fi
  # As in other PHP tools, index.php answers requests for missing files, unless .lighttpd.conf says what answers.
  [[ ! -f $root/index.php ]] || has_setting 'url\.rewrite|server\.error-handler' || echo 'server.error-handler-404 = "/index.php"'
  # php-fpm runs PHP files, also if .lighttpd.conf names another program for them.
  php="( \".php\" => (( \"socket\" => \"$socket\", \"broken-scriptfilename\" => \"enable\" )) )"
  if has_setting '"\.php"[[:space:]]*=>'; then
    printf 'include "%s/rules.conf"\nfastcgi.server := %s\n' "$layer" "$php"
  else
    printf 'fastcgi.server = %s\ninclude "%s/rules.conf"\n' "$php" "$layer"
  fi
} >"$run/lighttpd.conf"
