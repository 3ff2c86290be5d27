# Writes nginx's configuration. Sourced by heroku-php-nginx. The tools' own files use the names heroku-fcgi and
# @heroku-fcgi, as on Heroku.

stop_signal=QUIT
start_server() { exec nginx -e /dev/stderr -c "$run/nginx.conf"; }

{
  cat <<C
daemon off;
worker_processes 1;
pid $run/nginx.pid;
error_log stderr warn;
events { worker_connections 512; }
http {
  $(if [[ -f /etc/nginx/mime.types ]]; then echo include /etc/nginx/mime.types\;; fi)
  default_type application/octet-stream;
  access_log off;
  sendfile on;
  server_tokens off;
  client_max_body_size 0;
  client_body_temp_path $run/body;
  fastcgi_temp_path $run/fastcgi;
  proxy_temp_path $run/proxy;
  uwsgi_temp_path $run/uwsgi;
  scgi_temp_path $run/scgi;
  gzip on;
  gzip_proxied any;
  gzip_types text/plain text/css text/xml text/javascript application/javascript application/json image/svg+xml;
  fastcgi_buffers 256 4k;
  fastcgi_read_timeout 300;
  map \$http_x_forwarded_proto \$heroku_https { https on; }
  index index.php index.html index.htm;
  upstream heroku-fcgi { server unix:$socket; }
  server {
    listen 0.0.0.0:$PORT;
    server_name localhost;
    root "$root";
    absolute_redirect off;
    location @heroku-fcgi {
      fastcgi_split_path_info ^(.+\.php)(/.*)\$;
C
  for pair in QUERY_STRING:query_string REQUEST_METHOD:request_method CONTENT_TYPE:content_type CONTENT_LENGTH:content_length \
    SCRIPT_NAME:fastcgi_script_name REQUEST_URI:request_uri DOCUMENT_URI:document_uri DOCUMENT_ROOT:document_root \
    SERVER_PROTOCOL:server_protocol REQUEST_SCHEME:scheme SERVER_SOFTWARE:nginx_version REMOTE_ADDR:remote_addr \
    REMOTE_PORT:remote_port SERVER_ADDR:server_addr SERVER_NAME:host; do
    echo "      fastcgi_param ${pair%:*} \$${pair#*:};"
  done
  cat <<C
      fastcgi_param GATEWAY_INTERFACE CGI/1.1;
      fastcgi_param REDIRECT_STATUS 200;
      fastcgi_param SERVER_PORT 80;
      fastcgi_param HTTPS \$heroku_https if_not_empty;
      fastcgi_param SCRIPT_FILENAME \$document_root\$fastcgi_script_name;
      fastcgi_param PATH_INFO \$fastcgi_path_info if_not_empty;
      if (!-f \$document_root\$fastcgi_script_name) { return 404; }
      fastcgi_pass heroku-fcgi;
    }
    location ~ /\.(?!well-known(/|\$)) { return 404; }
C
  if [[ -n $more_server ]]; then
    echo "    include \"$(realpath -- "$more_server")\";"
  else
    missing='=404'
    [[ ! -f $root/index.php ]] || missing='/index.php$is_args$args'
    echo "    location / { index index.php index.html index.htm; try_files \$uri \$uri/ $missing; }"
    # Do not send files that $programs matches, because they are programs, often with passwords.
    echo "    location ~ \"$programs\" { if (-f \$request_filename) { return 403; } try_files \$uri $missing; }"
  fi
  [[ ! -f $root/vendor/autoload.php ]] || echo '    location ~ ^/vendor(/|$) { return 404; }'
  [[ $root != "$PWD" ]] || echo '    location ~* ^/+(composer\.(json|lock|phar)|auth\.json|Procfile|Aptfile|project\.toml|service\.template|toolforge\.yaml|jobs\.yaml|app\.json)$ { return 404; }'
  echo '    location ~ \.php(/|$) { try_files @heroku-fcgi @heroku-fcgi; }'
  printf '  }\n}\n'
} >"$run/nginx.conf"
