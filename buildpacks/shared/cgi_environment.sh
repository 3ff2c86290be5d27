# Prints a setting of lighttpd that passes the variables of this process on to CGI scripts. lighttpd changes names to
# capital letters, so only names in capital letters are passed. A name that begins with HTTP_ would look like a header
# of a request.
echo 'setenv.set-environment = ('
compgen -e | grep -E '^[A-Z_][A-Z0-9_]*$' | grep -v '^HTTP_' | sed 's/.*/"&" => env.&,/'
echo ')'
