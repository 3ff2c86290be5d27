# Prints the path of a manage.py in the three upper levels of folders, if a Python file below its folder sets
# STATIC_ROOT. A call of the packages django-heroku or django-on-heroku sets STATIC_ROOT too. Sourced by bin/detect and
# bin/build.
find_manage() {
  local manage
  manage=$(find . -maxdepth 3 -name manage.py -type f -not -path '*/node_modules/*' | awk '{ print gsub("/", "/"), $0 }' | sort -n | sed -n '1s/^[0-9]* //p')
  [[ -n $manage ]] || return 0
  if grep -rqsE --include='*.py' --exclude-dir=node_modules '^[[:space:]]*(STATIC_ROOT\b|django_(on_)?heroku\.settings\()' "$(dirname "$manage")"; then echo "$manage"; fi
}
