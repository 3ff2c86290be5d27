# Where a Python tool says what it needs. Sourced by the buildpacks python, pip and uwsgi.

# The file with the requirements, or nothing: at the top, else where `webservice` has its source.
requirements_file() {
  local file
  for file in requirements.txt www/python/src/requirements.txt; do
    [[ -f $file ]] && echo "$file" && return
  done
  if grep -qsE '^\[project\]' pyproject.toml; then echo pyproject.toml; fi
}

# Whether gunicorn is among them
uses_gunicorn() {
  local file
  file=$(requirements_file)
  if [[ $file == *.txt ]]; then
    grep -qiE '^[[:space:]]*gunicorn([^a-z0-9_-]|$)' "$file"
  else
    grep -qsiE '["'\'']gunicorn([^a-z0-9_-]|$)' pyproject.toml
  fi
}
