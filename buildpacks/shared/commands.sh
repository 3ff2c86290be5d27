# Chooses which compiled command of a tool serves requests. Sourced by the buildpacks of languages with a compiler.

# has_web_line: tells whether the Procfile has a web process
has_web_line() { [[ -f Procfile ]] && LC_ALL=C tr -d '\000' <Procfile | LC_ALL=C grep -E $'^(\xef\xbb\xbf)?[[:space:]]*web:' >/dev/null; }

# may_serve SUFFIX SIGNS: tells whether the tool may wait for requests. A tool with a Procfile, toolforge.yaml or
# a file of jobs may only if one of its files *.SUFFIX matches SIGNS, an extended regular expression. Every other tool may.
may_serve() {
  local file
  for file in Procfile toolforge.yaml {,toolforge/,.toolforge/}{,cron}jobs.yaml jobs.yml toolforge-jobs.yaml; do
    [[ -f $file ]] || continue
    grep -rqsE --include="*.$1" --exclude-dir={vendor,node_modules,target,.git} "$2" .
    return
  done
}

# choose_web FOLDER NAME…: defines the web process, unless the Procfile does. FOLDER has the commands. If there are
# several, chooses the first NAME that is a command, or else a command named web or server. Warns if none can be chosen
# and there is no Procfile.
choose_web() {
  local folder=$1 name web='' commands
  shift
  mapfile -t commands < <(cd "$folder" && printf '%s\n' *)
  echo "       commands: ${commands[*]}"
  has_web_line && return
  if [[ ${#commands[@]} -eq 1 ]]; then web=${commands[0]}; fi
  for name in "$@" web server; do
    [[ -z $web && -n $name && -f $folder/$name ]] && web=$name
  done
  if [[ -n $web ]]; then
    printf '[[processes]]\ntype = "web"\ncommand = ["%s"]\ndefault = true\n' "$web" >"$CNB_LAYERS_DIR/launch.toml"
    for name in "${commands[@]}"; do [[ $name == "$web" ]] || break; done
    [[ $name == "$web" ]] || name=" with a line such as \`web: $name\`"
    echo "       web: $web (to change it, add a Procfile${name#"$web"})"
  elif [[ ! -f Procfile ]]; then
    echo " !     No file says which of the commands serves requests: add a Procfile with a line such as \`web: ${commands[0]}\`."
  fi
}
