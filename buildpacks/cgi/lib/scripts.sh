# Finds the CGI scripts of a tool and the folder of its pages. Sourced by bin/detect and bin/build.

# Prints the folder with CGI scripts, or nothing
cgi_folder() {
  local folder file
  for folder in cgi-bin public_html/cgi-bin www/cgi-bin htdocs/cgi-bin; do
    for file in "$folder"/* "$folder"/*/*; do is_script "$file" && echo "$folder" && return; done
  done
  return 0
}

# is_script FILE: tells whether a file is a script. Either its name ends in .cgi, .pl, .py, .sh or .rb, or its first
# line names an interpreter.
is_script() {
  [[ -f $1 ]] || return 1
  case $1 in *.cgi | *.pl | *.py | *.sh | *.rb) return 0 ;; esac
  [[ $(first_line "$1") == '#!'* ]]
}

# Prints the folder whose files are served at /, or nothing. In this folder, only *.cgi, *.pl and *.py are scripts.
page_folder() {
  local folder file
  for folder in public_html htdocs public; do [[ -d $folder ]] && echo "$folder" && return; done
  for file in index.html *.cgi; do [[ -f $file ]] && echo . && return; done
  return 0
}

# Prints the scripts of the folder of pages. In public_html, the scripts may be in folders, too.
page_scripts() {
  local file pages
  pages=$(page_folder)
  if [[ $pages == public_html ]]; then
    find public_html -maxdepth 5 \( -path public_html/cgi-bin -o -name node_modules -o -name '*venv' -o -name '.?*' \) -prune -o \
      -type f \( -name '*.cgi' -o -name '*.pl' -o -name '*.py' \) -print | LC_ALL=C sort
    return
  fi
  [[ -n $pages ]] || return 0
  for file in "$pages"/*.cgi; do [[ ! -f $file ]] || echo "$file"; done
  # At the top, files *.pl and *.py do not count, because they are seldom CGI scripts.
  [[ $pages != . ]] || return 0
  for file in "$pages"/*.pl "$pages"/*.py; do [[ ! -f $file ]] || echo "$file"; done
}
