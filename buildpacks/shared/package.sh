# Reads package.json. Sourced by the buildpacks of Node and by static.

# shellcheck source=other_language.sh
source "$CNB_BUILDPACK_DIR/lib/other_language.sh"

top=$PWD

# The files that may name the jobs of the tool
job_files=("$top"/toolforge.yaml "$top"/{,toolforge/,.toolforge/}{,cron}jobs.yaml "$top"/{jobs.yml,toolforge-jobs.yaml})

# names_processes: tells whether a file names the processes of the tool
names_processes() {
  local file
  for file in "$top/Procfile" "${job_files[@]}"; do [[ ! -f $file ]] || return 0; done
  return 1
}

# Matches a byte order mark or nothing. Some editors on Windows write the mark at the start of a file
bom=$'(\xef\xbb\xbf)?'

# json FILE: prints the values of the file as lines of PATH<TAB>VALUE
json() {
  if [[ $(wc -c <"$1") -gt 1000000 ]]; then
    echo "is larger than 1 MB" >&2
    return 1
  fi
  LC_ALL=C awk -f "$CNB_BUILDPACK_DIR/lib/json.awk" "$1"
}

# field LINES PATH: prints the value at PATH in the lines that json printed, or nothing
field() { awk -F '\t' -v path="$2" '$1 == path { print substr($0, length(path) + 2); exit }' <<<"$1"; }

# has LINES PATH: tells whether the lines that json printed have a value at PATH or below it
has() { awk -F '\t' -v path="$2" '$1 == path || index($1, path "|") == 1 { found = 1; exit } END { exit !found }' <<<"$1"; }

# line_of FILE KEY…: prints the number of the line of a value. The keys are the path to the value, from the outside in.
line_of() {
  local file=$1
  shift
  awk -v keys="$*" 'BEGIN { count = split(keys, key, " "); n = 1 }
    index($0, "\"" key[n] "\"") { while (n <= count && index($0, "\"" key[n] "\"")) n++; if (n > count) { print NR; exit } }' "$file"
}

# Matches the packages that only help developers. A tool that depends on nothing else needs no Node when it runs.
development_tools='@babel/|@commitlint/|@eslint/|@types/|@typescript-eslint/|@playwright/|@wdio/|@wikimedia/codex-icons$|api-testing|autoprefixer|banana-checker|chai|cypress|eslint|grunt|gulp|husky|jest|jscs|jsdoc|jshint|karma|less$|lint-staged|markdownlint|mocha|nodemon|nyc|playwright|postcss|prettier|puppeteer|qunit|sass$|semantic-release|sinon|stylelint|svgo|tailwindcss|ts-node|tsx|typescript|vite|webpack'

# has_dependencies LINES: tells whether the tool depends on more than development tools
has_dependencies() { awk -F '[|\t]' -v tools="^($development_tools)" '$1 == "dependencies" && NF > 2 && $2 !~ tools { found = 1; exit } END { exit !found }' <<<"$1"; }

# build_script LINES: prints the name of the script that builds, or nothing. Heroku runs heroku-postbuild in place of
# build. In a package that only makes documents, vitepress and vuepress name it docs:build
build_script() {
  local script
  for script in heroku-postbuild build; do has "$1" "scripts|$script" && echo "$script" && return; done
  [[ $(field "$1" 'scripts|docs:build') =~ ^(vitepress|vuepress)\  ]] || return
  ! has "$1" 'scripts|start' && ! has "$1" main && ! other_language >/dev/null && echo docs:build
}

# Tells whether a command of the tool runs Node, or whether service.template asks for it
runs_node() {
  local programs='(^|[[:space:];&|"'\''(])(node|nodejs|npm|npx|yarn|pnpm)([[:space:];&|"'\'')]|$)'
  grep -qsE "^$bom"'type:[[:space:]]*["'\'']?node' service.template "$top/service.template" && return
  [[ -f $top/Procfile ]] && LC_ALL=C tr -d '\000\r' <"$top/Procfile" | sed -nE "s/^$bom"'[[:space:]]*[A-Za-z0-9_-]+:(.*)/\2/p' | grep -E "$programs" >/dev/null && return
  grep -qsE '(^|[[:space:],{-])image:[[:space:]]*["'\'']?(tf-)?node[0-9]' "${job_files[@]}" && return
  { grep -shE '^([^#]*[[:space:],{-])?command:' "${job_files[@]}" || true; } | sed -E 's/^[^#]*command://' | grep -E "$programs" >/dev/null
}

# Prints the first folder that has an index.html, or nothing
site_folder() { for folder in . public public_html dist docs build www htdocs; do [[ -f $folder/index.html ]] && echo "$folder" && return; done; }

# Matches a start script that only serves the tool while a developer works on it. If the tool also has a page or a build
# script, the result is a web site, which needs no server of its own.
development_server='^(([A-Za-z_]+=[^ ]*|cross-env|npx|yarn|run|npm|exec) +)*(react-scripts start|react-app-rewired start|craco start|vue-cli-service serve|ng serve|webpack serve|webpack-dev-server|webpack .*--watch|gatsby (develop|serve)|astro( dev| preview)?( --.*)?$|docusaurus (start|serve)|(@11ty/)?eleventy .*--serve|vitepress (dev|preview)|vuepress dev|hexo (server|s)$|parcel|vite( dev| serve| preview)?( --.*)?$|wrangler( pages)? dev|(netlify|vercel) dev|live-server|lite-server|snowpack dev|gulp|grunt)( |$)'

# Matches what a program for Node contains if it waits for connections
waits_for_connections='listen *\(|createServer|process\.env\.PORT|process\.env\[.PORT.\]'

# Matches a start script that compiles or watches the tool while a developer works on it. Generators of packages write the
# script start:prod beside it, which only runs the tool
watching_start='^(([A-Za-z_]+=[^ ]*|cross-env|npx) +)*(nest start|nodemon|ts-node|ts-node-dev|tsx|babel-node)( |$)'

# makes_only_files START: tells whether the build makes only files, by the settings of the framework whose server the
# start script starts. If so, the server of the framework would refuse to start
makes_only_files() {
  case $1 in
    'next start'*) grep -qsE "^[^/*]*\\boutput['\"]?:[[:space:]]*['\"\`]export['\"\`]" next.config.{js,mjs,cjs,ts,mts} ;;
    react-router-serve\ * | remix-serve\ *) grep -qsE "^[^/*]*\\bssr['\"]?:[[:space:]]*false" {react-router,vite}.config.{js,mjs,ts,mts} ;;
    *) return 1 ;;
  esac
}

# server_of LINES: sets $server to `start` (a script serves, and $start_script is its name), to the file that Node runs,
# or to nothing if the package has no server
server_of() {
  local start named main file site
  server='' start_script=start start=$(field "$1" 'scripts|start') main=$(field "$1" main) site=$(site_folder || true)$(build_script "$1" || true)
  # The start script may only name another one
  if [[ $start =~ ^(npm|yarn|pnpm)\ (run\ )?([A-Za-z0-9:_-]+)$ ]]; then
    named=$(field "$1" "scripts|${BASH_REMATCH[3]}")
    start=${named:-$start}
  fi
  if [[ $start =~ $watching_start ]] && has "$1" 'scripts|start:prod'; then start_script=start:prod; fi
  if [[ -n $start ]] && ! makes_only_files "$start"; then
    [[ $start =~ $development_server && $start != *[\&\;]* && -n $site ]] || { server=start && return; }
  fi
  if other_language >/dev/null && ! runs_node; then return 0; fi
  [[ $main == /* || $main == *..* || $main == *[[:cntrl:]]* ]] && main=''
  # What the builds of Nuxt, Astro, SvelteKit and Angular make for Node
  for file in .output/server/index.mjs dist/server/entry.mjs build/handler.js dist/*/server/server.mjs; do
    [[ -f $file ]] && server=${file/handler/index} && return
  done
  # A server of the tool's own comes before the one of Next.js, as `npm start` without a start script also runs server.js.
  if [[ -f .next/BUILD_ID && ! -f out/index.html ]] && ! grep -sqE "$waits_for_connections" server.js; then server=next && return; fi
  for file in server.{js,mjs,cjs,ts} "${main:-index.js}" {index,app}.{js,mjs,cjs,ts}; do
    if [[ ! -f $file ]]; then
      [[ $file == "$main" && ( -f $main.js || -f $main/index.js ) ]] || continue
    fi
    # In a web site, a file such as app.js is for the browser, unless it waits for connections. The main file of a
    # package that has only linters may be a gadget of a wiki.
    if [[ -n $site && $file != server.* ]]; then
      grep -sqE "$waits_for_connections" "$file" || continue
    elif [[ $file != server.* ]] && has "$1" devDependencies && ! has_dependencies "$1"; then
      grep -rsqE --include='*.[jt]s' --include='*.[cm]js' --exclude-dir=node_modules "$waits_for_connections" . || continue
    fi
    server=$file
    break
  done
}

# is_node_tool LINES: tells whether Node builds or runs the tool. If not, sets $why_not.
is_node_tool() {
  local language
  language=$(other_language || true)
  why_not='it has no start script, no build script and no dependencies but development tools'
  [[ -n $language ]] && why_not+=", and the tool is written in $language"
  runs_node && return
  [[ -n $(build_script "$1") ]] && return
  has_dependencies "$1" && return
  server_of "$1"
  [[ -z $server ]] && return 1
  # Beside another language, a start script counts only if it runs Node
  [[ -z $language || $(field "$1" 'scripts|start') =~ (^|[\ ])node[\ ] ]]
}

# manager_of LINES: sets $manager (npm, yarn or pnpm), $manager_range (an npm range; empty = any) and $manager_said_by
manager_of() {
  local spec name
  manager='' manager_range='' manager_said_by=''
  spec=$(field "$1" packageManager) manager_said_by=packageManager
  [[ -z $spec ]] && spec="$(field "$1" 'devEngines|packageManager|name')@$(field "$1" 'devEngines|packageManager|version')" manager_said_by=devEngines
  name=${spec%%@*}
  case $name in npm | yarn | pnpm) manager=$name manager_range=${spec#"$name"} ;; esac
  manager_range=${manager_range#@} manager_range=${manager_range%%+*}
  if [[ -z $manager ]]; then
    manager_said_by=engines
    if [[ -f pnpm-lock.yaml ]]; then manager=pnpm
    elif [[ -f yarn.lock ]]; then manager=yarn
    elif [[ -f package-lock.json || -f npm-shrinkwrap.json ]]; then manager=npm
    elif has "$1" 'engines|pnpm'; then manager=pnpm
    elif has "$1" 'engines|yarn' && ! has "$1" 'engines|npm'; then manager=yarn
    else manager=npm
    fi
  fi
  [[ -n $manager_range ]] || manager_range=$(field "$1" "engines|$manager")
  [[ -n $manager_range ]] || manager_said_by=''
}

# detect_manager NAME: what bin/detect of the buildpacks npm, yarn and pnpm does
detect_manager() {
  local lines lock
  [[ -f package.json ]] || exit 100
  lines=$(json package.json 2>/dev/null) || exit 100
  is_node_tool "$lines" || exit 100
  manager_of "$lines"
  [[ $manager == "$1" ]] || exit 100
  echo "$manager${manager_range:+ $manager_range ($manager_said_by in package.json)}"
  for lock in pnpm-lock.yaml yarn.lock package-lock.json npm-shrinkwrap.json bun.lock bun.lockb; do
    case $manager-$lock in pnpm-pnpm-lock.yaml | yarn-yarn.lock | npm-package-lock.json | npm-npm-shrinkwrap.json) continue ;; esac
    if [[ $lock == bun.* && -f $lock ]]; then
      echo "note: $lock is not used, because bun is not available here. $manager installs the packages of package.json"
      continue
    fi
    [[ ! -f $lock ]] || echo "note: $lock is not used, because $manager installs the packages${manager_said_by:+ ($manager_said_by in package.json)}. Delete $lock"
  done
  printf '[[requires]]\nname = "node"\n\n[requires.metadata]\nlaunch = true\n' >"$CNB_BUILD_PLAN_PATH"
}

# write_process TYPE WORD…: defines a process
write_process() {
  local type=$1 word words=''
  shift
  for word in "$@"; do
    word=${word//\\/\\\\} word=${word//\"/\\\"}
    words+="${words:+, }\"$word\""
  done
  printf '[[processes]]\ntype = "%s"\ncommand = [%s]\ndefault = true\n' "$type" "$words" >"$CNB_LAYERS_DIR/launch.toml"
  [[ $PWD == "$top" ]] || printf 'working-dir = "%s"\n' "$PWD" >>"$CNB_LAYERS_DIR/launch.toml"
}

# web_line: prints the command of `web` in the Procfile, or nothing
web_line() { [[ ! -f $top/Procfile ]] || LC_ALL=C tr -d '\000\r' <"$top/Procfile" | sed -nE "s/^$bom"'[[:space:]]*web:[[:space:]]*(.*)/\2/p' | tail -n 1; }

# The buildpacks work in www/js, where Toolforge's `webservice` starts Node, if package.json is only there. They also do
# so if the package.json at the top is only for linters: without a start script, a build script and other packages.
if [[ -f www/js/package.json ]]; then
  if [[ ! -f package.json ]]; then
    cd www/js
  elif lines=$(json package.json 2>/dev/null) && ! has "$lines" 'scripts|start' && [[ -z $(build_script "$lines") ]] && ! has_dependencies "$lines"; then
    cd www/js
  fi
fi
