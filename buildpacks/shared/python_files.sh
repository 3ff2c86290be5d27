# Finds the file with the requirements of a Python tool. Sourced by the buildpacks python, pip and uwsgi.

# text_of FILE: prints the lines of a file without what Windows adds: byte order mark, CR, and the NULs of UTF-16 with
# Latin letters
text_of() { LC_ALL=C tr -d '\000\r' <"$1" | LC_ALL=C sed $'1s/^\\(\xef\xbb\xbf\\|\xff\xfe\\|\xfe\xff\\)//'; }

# Prints the path of the file with the requirements, or nothing. A requirements.txt at the top comes first, then the one
# in the folder of Toolforge's `webservice`, then pyproject.toml.
requirements_file() {
  local file
  for file in requirements.txt www/python/src/requirements.txt; do
    [[ -f $file ]] && echo "$file" && return
  done
  if [[ -f pyproject.toml ]] && text_of pyproject.toml | grep -E '^\[project\]' >/dev/null; then echo pyproject.toml; fi
}

# Tells whether gunicorn is among the requirements
uses_gunicorn() {
  local file
  file=$(requirements_file)
  if [[ $file == *.txt ]]; then
    text_of "$file" | grep -iE '^[[:space:]]*gunicorn([^a-z0-9_-]|$)' >/dev/null
  else
    grep -qsiE '["'\'']gunicorn([^a-z0-9_-]|$)' pyproject.toml
  fi
}

# Tells whether the Procfile has a web process
has_web() { [[ -f Procfile ]] && text_of Procfile | grep -E '^[[:space:]]*web:' >/dev/null; }
