# Prints the path of manage.py if it is in one of the three upper levels of folders and there are settings with a
# STATIC_ROOT. The packages django-heroku and django-on-heroku set it. Sourced by bin/detect and bin/build.
find_manage() {
  local manage
  manage=$(find . -maxdepth 3 -name manage.py -type f -not -path '*/node_modules/*' | awk '{ print gsub("/", "/"), $0 }' | sort -n | sed -n '1s/^[0-9]* //p')
  [[ -n $manage ]] || return 0
  if grep -rqsE --include='*.py' --exclude-dir=node_modules '^[[:space:]]*(STATIC_ROOT\b|django_(on_)?heroku\.settings\()' "$(dirname "$manage")"; then echo "$manage"; fi
}
