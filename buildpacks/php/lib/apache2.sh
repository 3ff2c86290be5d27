# Writes Apache's configuration. Sourced by heroku-php-apache2.

stop_signal=WINCH
start_server() { exec apache2 -DFOREGROUND -f "$run/apache.conf"; }

modules=$(dirname "$(dirname "$(realpath "$(command -v apache2)")")")/lib/apache2/modules
{
  for module in mpm_event authz_core authz_host authz_user authn_core authn_file access_compat auth_basic alias autoindex cgid \
    deflate dir env expires filter headers mime negotiation proxy proxy_fcgi reqtimeout rewrite setenvif; do
    [[ ! -f $modules/mod_$module.so ]] || echo "LoadModule ${module}_module $modules/mod_$module.so"
  done
  cat <<C
ServerRoot "$run"
DefaultRuntimeDir "$run"
PidFile "$run/apache.pid"
ScriptSock "$run/cgi.sock"
Listen 0.0.0.0:$PORT
ServerName localhost
ServerTokens Prod
ErrorLog /dev/stderr
ErrorLogFormat "%M"
LogLevel warn
Timeout 300
StartServers 1
ServerLimit 4
ThreadsPerChild 25
MinSpareThreads 10
MaxSpareThreads 60
MaxRequestWorkers 100
GracefulShutdownTimeout 10
TypesConfig $(if [[ -f /etc/mime.types ]]; then echo /etc/mime.types; else echo /dev/null; fi)
AddDefaultCharset Off
AddOutputFilterByType DEFLATE text/html text/plain text/css text/xml text/javascript application/javascript application/json image/svg+xml
# Tell PHP, by the variable HTTPS, if the server in front of Apache got the request by HTTPS.
SetEnvIf X-Forwarded-Proto ^https$ HTTPS=on
# Redirect /folder to https: here, because Apache itself would redirect it to http:.
RewriteEngine On
RewriteCond %{HTTP:X-Forwarded-Proto} ^https\$ [NV]
RewriteCond %{DOCUMENT_ROOT}%{REQUEST_URI} -d
RewriteRule ^/.*[^/]\$ https://%{HTTP_HOST}%{REQUEST_URI}/ [R=301,L]

<Directory />
  AllowOverride None
  Require all denied
</Directory>
DocumentRoot "$root"
<Directory "$root">
  Options FollowSymLinks
  AllowOverride All Nonfatal=All
  Require all granted
  DirectoryIndex index.php index.html index.htm
  CGIPassAuth On
</Directory>
<FilesMatch "\.(php|phtml)\$">
  <If "-f %{REQUEST_FILENAME}">
    SetHandler "proxy:unix:$socket|fcgi://localhost"
  </If>
</FilesMatch>
RedirectMatch 404 "(?i)(^|/)\.(?!well-known(/|\$))"
C
  # Do not send files such as *.py, which are programs, often with passwords. But if .htaccess makes Apache run such
  # files, Apache does what .htaccess says.
  if ! grep -qsi cgi-script "$root/.htaccess"; then
    printf '<FilesMatch "%s">\n  <If "-f %%{REQUEST_FILENAME} && %%{REQUEST_URI} !~ m#^/cgi-bin/#">\n    Require all denied\n  </If>\n</FilesMatch>\n' "$programs"
  fi
  # index.php answers requests for missing files, unless .htaccess says what answers.
  if [[ -f $root/index.php ]] && ! grep -qsiE '^[[:space:]]*(FallbackResource|ErrorDocument[[:space:]]+404)' "$root/.htaccess"; then
    printf '<Directory "%s">\n  <If "%%{IS_SUBREQ} == '"'false'"'">\n    FallbackResource /index.php\n  </If>\n</Directory>\n' "$root"
  fi
  [[ ! -f $root/vendor/autoload.php ]] || echo 'RedirectMatch 404 "^/vendor(/|$)"'
  [[ $root != "$PWD" ]] || echo 'RedirectMatch 404 "(?i)^/+(composer\.(json|lock|phar)|auth\.json|Procfile|Aptfile|project\.toml|service\.template|toolforge\.yaml|jobs\.yaml|app\.json)$"'
  # Toolforge's webservice also runs the programs in cgi-bin.
  if [[ -d cgi-bin ]]; then
    printf 'ScriptAlias /cgi-bin/ "%s/cgi-bin/"\n<Directory "%s/cgi-bin">\n  Options ExecCGI FollowSymLinks\n  Require all granted\n' "$PWD" "$PWD"
    compgen -e | sed 's/^/  PassEnv /'
    echo '</Directory>'
  fi
  [[ -z $more_server ]] || printf 'Include "%s"\n' "$(realpath -- "$more_server")"
} >"$run/apache.conf"
