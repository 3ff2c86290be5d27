# Builds a Node tool. Sourced by the bin/build of npm, yarn and pnpm, which define
#   install_all, install_production   install the packages with and without those for development
#   prune                             removes the packages for development; unset if the package manager cannot
#   start                             an array with the command that runs the start script

# shellcheck source=package.sh
source "$CNB_BUILDPACK_DIR/lib/package.sh"
# shellcheck source=stack.sh
source "$CNB_BUILDPACK_DIR/lib/stack.sh"
# shellcheck source=node_modules.sh
source "$CNB_BUILDPACK_DIR/lib/node_modules.sh"

lines=$(json package.json)
downloads=$CNB_LAYERS_DIR/downloads
log=$(mktemp)
mkdir -p "$downloads"
printf '[types]\ncache = true\n' >"$downloads.toml"

# step TITLE COMMAND…: runs a command of the build. If it fails, ends the build, with a sentence if the reason is known
step() {
  local status=0
  echo "-----> $1"
  shift
  "$@" 2>&1 | tee "$log" | sed -u '/DEP0169\|--trace-deprecation\|Unknown env config "nodedir"/d; s/^/       /' || status=$?
  ((status == 0)) && return
  explain
  exit "$status"
}

explain() {
  local lock='' detail=''
  if grep -qF 'are in sync' "$log"; then
    lock=package-lock.json detail=$(grep -oE '(Missing|Invalid): .*' "$log" | head -n 1 || true)
  elif grep -qE 'Your lockfile needs to be updated|lockfile would have been modified' "$log"; then
    lock=yarn.lock
  elif grep -qF ERR_PNPM_OUTDATED_LOCKFILE "$log"; then
    lock=pnpm-lock.yaml
  elif grep -qF "No module named 'distutils'" "$log"; then
    echo " !     A package must be compiled, and its node-gyp needs a module that Python 3.12 and newer lack: ask the operator of this server to install the Debian package python3-setuptools.$(in_stack 'This module')"
  elif grep -qE 'gyp ERR!.*(not found: make|find Python|could not find a version of Python)|make: (cc|c\+\+|g\+\+):.*not found' "$log"; then
    echo " !     A package must be compiled, but this server has no compiler: ask its operator to install the Debian packages build-essential and python3.$(in_stack 'A compiler')"
  fi
  [[ -z $lock ]] || echo " !     $lock does not match package.json${detail:+ ($detail)}. Run \`$manager install\`, and commit $lock."
}

# needed_by COMMAND: prints the programs that a command line starts, and the modules that Node loads before others
needed_by() {
  sed -E 's/&&|\|\||[;|&]/\n/g' <<<"$1" | awk '{
    gsub(/["\047]/, ""); sub(/(^| )cd .*/, "")
    for (i = 1; i <= NF && ($i ~ /^[A-Za-z_][A-Za-z0-9_]*=/ || $i ~ /^(cross-env|dotenv|env|exec|npx|--)$/); i++) print $i
    if (i <= NF) print $i
    for (; i <= NF; i++) if (sub(/^(-r|--require|--import|--loader|--experimental-loader)=?/, "", $i)) print $i != "" ? $i : $(i + 1)
  }'
}

# with_scripts COMMAND: prints a command line and, after it, the scripts of package.json that it runs
with_scripts() {
  local text=$1 name round
  for round in 1 2 3; do
    for name in $(grep -oE '(npm|yarn|pnpm)( run| run-script)? [A-Za-z0-9:_-]+' <<<"$text" | awk '{ print $NF }' | sort -u); do
      for name in "pre$name" "$name"; do has "$lines" "scripts|$name" && text+=" ; $(field "$lines" "scripts|$name")"; done
    done
    [[ $text == "$1" || ${#text} -gt 5000 ]] && break
  done
  echo "$text"
}

# package_of WORD: prints the development package to which a program or module belongs, or nothing
package_of() {
  local word=$1 target=''
  [[ $word == @*/* ]] && word=$(cut -d/ -f1,2 <<<"$word") || word=${word%%/*}
  if has "$lines" "devDependencies|$word"; then echo "$word" && return; fi
  [[ -L node_modules/.bin/$word ]] && target=$(readlink "node_modules/.bin/$word")
  case $word in tsc) target=typescript ;; ng) target=@angular/cli ;; vue-cli-service) target=@vue/cli-service ;; esac
  target=${target#../}
  [[ $target == @*/* ]] && target=$(cut -d/ -f1,2 <<<"$target") || target=${target%%/*}
  [[ -n $target ]] && has "$lines" "devDependencies|$target" && echo "$target"
}

# needed_packages COMMAND: prints PROGRAM PACKAGE for each package for development that a command needs
needed_packages() {
  local word package
  needed_by "$(with_scripts "$1")" | sort -u | while read -r word; do
    [[ $word == .* || $word == /* || -z $word ]] && continue
    package=$(package_of "$word") && echo "$word $package"
  done || true
}

# check_foreground COMMAND: ends the build if the command starts the tool in the background and ends
check_foreground() {
  local text program
  text=$(with_scripts "$1")
  [[ $text =~ (^|[\ \;\&])(pm2|forever)\ +start\  && $text != *--no-daemon* ]] || return 0
  program=${BASH_REMATCH[2]}
  echo " !     The web process runs \`$program start\`, which starts the tool in the background and ends. Run the file itself, such as \`node app.js\`: the server starts a process again if it ends."
  exit 1
}

build_tool() {
  local script all='' needed word package web begin ignored
  if [[ -d node_modules ]]; then
    echo " !     The folder node_modules in the repository is not used. Remove it (\`git rm -r --cached node_modules\`), and add node_modules to .gitignore."
    rm -rf node_modules
  fi
  # As on Heroku, build scripts see the NODE_ENV that the running tool sees. Packages for development are installed
  # nevertheless.
  export NODE_ENV=${NODE_ENV:-production}
  [[ -z $(build_script "$lines") ]] || all=1
  for script in prepare preinstall install postinstall; do has "$lines" "scripts|$script" && all=1; done
  has "$lines" workspaces && all=1
  web=$(web_line) needed='' begin=$web
  if node_serves && [[ $server == start ]]; then begin="npm run $start_script"; fi
  check_foreground "$begin"

  has "$lines" 'scripts|heroku-prebuild' && step "$manager run heroku-prebuild" "$manager" run heroku-prebuild
  if [[ -z $all$(needed_packages "$begin") && $(type -t prune) == function ]]; then
    install_modules "$manager install, without packages for development" install_production
  else
    install_modules "$manager install" install_all
    ignored=$(grep -oE 'Ignored build scripts: [^.]*' "$log" | cut -d: -f2 || true)
    [[ -z $ignored ]] || echo " !     pnpm did not run the install scripts of$ignored: name them in onlyBuiltDependencies in pnpm-workspace.yaml."
    script=$(build_script "$lines" || true)
    # With this variable of Google's buildpacks, the default adapter of SvelteKit makes a server for Node. Without it, the
    # adapter does not know this builder and makes nothing.
    ! has "$lines" 'devDependencies|@sveltejs/adapter-auto' || export GCP_BUILDPACKS=1
    # With npm_config_include=dev, an npm that the script runs in another folder also installs the packages for
    # development there.
    [[ -z $script ]] || step "$manager run $script" env npm_config_include=dev "$manager" run "$script"
    if [[ ${NPM_CONFIG_PRODUCTION:-${npm_config_production:-${YARN_PRODUCTION:-}}} != false ]] && has "$lines" devDependencies; then
      needed=$(needed_packages "$begin" | head -n 1)
      word=${needed% *} package=${needed#* }
      [[ $word == "$package" ]] || package+=" (with $word)"
      if [[ -n $needed ]]; then
        echo " !     $package is a devDependency, but the tool needs it to start. So packages for development are kept. To have a smaller tool, move it to \"dependencies\" in package.json."
      elif [[ $(type -t prune) == function ]]; then
        prune_modules
      fi
    fi
  fi
  has "$lines" 'scripts|heroku-cleanup' && step "$manager run heroku-cleanup" "$manager" run heroku-cleanup
  define_web
}

# node_serves: sets $server, and tells whether it is the web process of the tool. A `web` line in the Procfile ($web)
# comes first. Beside another language, or beside files that name processes but no web process, Node must look like a
# server, because `npm start` may also run a bot or a development server.
node_serves() {
  local word frameworks='^(express|fastify|koa|@hapi/hapi|next|nuxt|@nestjs/core|@sveltejs/kit|@remix-run/serve|astro|hono|polka|restify|socket.io|ws|serve|http-server|json-server)$'
  server_of "$lines"
  [[ -n $server && -z $web ]] || return 1
  other_language >/dev/null || names_processes || return 0
  [[ $server == next ]] && return
  [[ $server == start && $(field "$lines" "scripts|$start_script") =~ \$\{?PORT ]] && return
  awk -F '[|\t]' -v names="$frameworks" '$1 == "dependencies" && $2 ~ names { found = 1; exit } END { exit !found }' <<<"$lines" && return
  for word in $(field "$lines" "scripts|$start_script") "$server"; do
    [[ $word == *.[cm]js || $word == *.[jt]s ]] && grep -sqE "$waits_for_connections" "$word" && return
  done
  return 1
}

# check_start_script SCRIPT: ends the build if nothing installs the program that the script runs, or if the script is
# `node FILE` and FILE does not exist. Does not check a script that uses shell syntax, or that has a `prestart` script,
# which may make FILE.
check_start_script() {
  local word words missing='' place
  place="package.json line $(line_of package.json scripts "$start_script"): the $start_script script"
  has "$lines" "scripts|pre$start_script" && return 0
  [[ $1 == *[\;\&\|\<\>\$\`\"\'\(\*]* ]] && return 0
  read -ra words <<<"$1"
  while [[ ${words[0]:-} =~ ^[A-Za-z_][A-Za-z0-9_]*= ]]; do words=("${words[@]:1}"); done
  word=${words[0]:-}
  # With Yarn's Plug'n'Play (.pnp.cjs), there is no node_modules/.bin in which to look for the program.
  if [[ $word =~ ^[a-z][a-z0-9_-]*$ && ! -f .pnp.cjs && ! -e node_modules/.bin/$word && -z $(type -t -- "$word") ]]; then
    echo " !     $place runs $word, which nothing installs. Add the package that has $word to the dependencies of package.json, or its Debian package to an Aptfile."
    exit 1
  fi
  [[ $word == node ]] || return 0
  for word in "${words[@]:1}"; do
    # The next word may be the value of an option
    [[ $word == -* ]] && { [[ $word == --*=* || $word == --enable-source-maps || $word == --no-* || $word == --trace-* ]] || return 0; }
    [[ $word == -* ]] || { missing=$word && break; }
  done
  [[ -n $missing ]] || return 0
  for word in '' .js .json .node /index.js /package.json; do [[ -f $missing$word ]] && return 0; done
  echo " !     $place runs $missing, which is neither in the repository nor made by a build script. Correct its path, or add a script named build that makes it."
  exit 1
}

# served_file: prints the file that a script for developers runs, or else server.js
served_file() {
  local word
  for word in $(awk -F '\t' '$1 ~ /^scripts\|(serve|server|prod|production|dev|develop|watch)(:|$)/ { print $2 }' <<<"$lines"); do
    [[ $word =~ ^[A-Za-z0-9_./-]+\.[cm]?[jt]s$ && -f $word ]] && echo "$word" && return
  done
  echo server.js
}

# define_web: defines the web process if Node serves the tool. Warns if nothing says how to start the tool.
define_web() {
  local command=()
  if node_serves; then
    case $server in
      start)
        check_start_script "$(field "$lines" "scripts|$start_script")"
        command=("${start[@]}")
        [[ $start_script == start ]] || command=("$manager" run "$start_script")
        ;;
      next) command=(npx --no-install next start) ;;
      *) command=(node "$server") ;;
    esac
    write_process web "${command[@]}"
    other_language >/dev/null || echo "       web: ${command[*]} (add a Procfile to change it)"
  elif [[ -z $web$server && ! -f $top/Procfile && -z $(site_folder)$(build_script "$lines") ]] && ! other_language >/dev/null; then
    echo " !     Nothing says how to start this tool: add a start script to package.json, or a Procfile with a line such as \`web: node $(served_file)\`."
  fi
}
