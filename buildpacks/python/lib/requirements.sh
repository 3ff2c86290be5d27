# Where a Python tool says what it needs. Sourced by the buildpacks python, pip and uwsgi.

# text_of FILE: its lines, whatever Windows made of them (a byte order mark, CR, UTF-16 of Latin letters)
text_of() { LC_ALL=C tr -d '\000\r' <"$1" | LC_ALL=C sed $'1s/^\\(\xef\xbb\xbf\\|\xff\xfe\\|\xfe\xff\\)//'; }

# The file with the requirements, or nothing: at the top, else where `webservice` has its source.
requirements_file() {
  local file
  for file in requirements.txt www/python/src/requirements.txt; do
    [[ -f $file ]] && echo "$file" && return
  done
  if [[ -f pyproject.toml ]] && text_of pyproject.toml | grep -E '^\[project\]' >/dev/null; then echo pyproject.toml; fi
}

# Whether gunicorn is among them
uses_gunicorn() {
  local file
  file=$(requirements_file)
  if [[ $file == *.txt ]]; then
    text_of "$file" | grep -iE '^[[:space:]]*gunicorn([^a-z0-9_-]|$)' >/dev/null
  else
    grep -qsiE '["'\'']gunicorn([^a-z0-9_-]|$)' pyproject.toml
  fi
}

# Whether the Procfile says what serves the web
has_web() { [[ -f Procfile ]] && text_of Procfile | grep -E '^[[:space:]]*web:' >/dev/null; }
