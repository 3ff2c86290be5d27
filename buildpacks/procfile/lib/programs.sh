# Finds the programs that commands of the Procfile start. A program counts as found unless it is certainly missing,
# because a wrong refusal would be worse than a late error.

# Prints the folders of PATH at run time. Fails if they cannot be known, because a reused layer has no files here.
launch_path() {
  local layers=${CNB_LAYERS_DIR%/*} toml layer file folder
  local -a folders
  for toml in "$layers"/*/*.toml; do
    grep -qsE '^[[:space:]]*launch[[:space:]]*=[[:space:]]*true' "$toml" || continue
    layer=${toml%.toml}
    [[ -d $layer ]] || return 1
    echo "$layer/bin"
    for file in "$layer"/env{,.launch,.launch/*}/PATH{,.override,.default,.prepend,.append}; do
      if [[ -f $file ]]; then tr ':' '\n' <"$file" && echo; fi
    done
  done
  IFS=: read -ra folders <<<"$PATH"
  for folder in "${folders[@]}"; do [[ $folder == "$layers"/* ]] || echo "$folder"; done
}

# Prints the program that a command starts. Prints nothing if shell syntax could mean something else.
program_of() {
  local word
  local -a words
  read -ra words <<<"$1"
  for word in "${words[@]}"; do
    [[ $word =~ ^[A-Za-z0-9_./][A-Za-z0-9_./+-]*$ || $word =~ ^[A-Za-z_][A-Za-z0-9_]*=([A-Za-z0-9_./:,@-]|\$[A-Z_]+|\$\{[A-Z_]+\})*$ ]] || return 0
    [[ $word == PATH=* || $(type -t -- "$word") =~ ^(builtin|keyword)$ && $word != exec ]] && return 0
    [[ $word == exec || $word == *=* ]] && continue
    echo "$word"
    return 0
  done
}

# Prints why a program cannot start, as the end of a sentence. Prints nothing if the program can perhaps start.
why_not_startable() {
  local program=$1 path folder language
  case $program in
    '' | /*) return 0 ;;
    */*)
      if [[ ! -e $program && ! -L $program ]]; then
        say_missing 'such file' "$program"
      elif [[ -f $program && ! -x $program ]]; then
        echo "that file is not executable. Run \`git update-index --chmod=+x $program\` and commit."
      fi
      return 0
      ;;
  esac
  path=$(launch_path) || return 0
  while IFS= read -r folder; do
    [[ -n $folder && -x $folder/$program ]] || continue
    if [[ $folder != "${CNB_LAYERS_DIR%/*}"/* ]] && is_build_only "$program"; then
      language=$(unbuilt_language)
      if [[ $program == java && -n $language ]]; then
        echo "nothing installs it for tools: $language"
      elif [[ $program == java ]]; then
        echo "nothing installs it for tools. A pom.xml, the files of Gradle or a jar in the repository does."
      else
        echo "$program exists only during the build. Start the program or file that the build makes."
      fi
    fi
    return 0
  done <<<"$path"
  what_to_add "$program"
}

# why_not_startable_in FOLDER PROGRAM COMMAND: prints why a program of a command `cd FOLDER && …` cannot start, as the end
# of a sentence. Prints nothing if the program can perhaps start.
why_not_startable_in() {
  local why installs='(npm|pnpm|yarn) +(i|ci|add|install)([^a-z]|$)'
  case $2 in
    */*) ;;
    node | npm | npx | yarn | pnpm)
      [[ -f $1/package.json && ! -d $1/node_modules && ! -d node_modules && ! $3 =~ $installs ]] || return 0
      grep -qE '"dependencies"[[:space:]]*:[[:space:]]*\{[[:space:]]*("|$)' "$1/package.json" || return 0
      ! grep -qE "$installs" "$1/package.json" || return 0
      echo "nothing installs the packages of $1/package.json. Let the build script of a package.json at the top run \`npm --prefix $1 install\`."
      ;;
    *)
      why=$(why_not_startable "$2")
      if [[ $why == 'no requirements install it.'* && -f $1/requirements.txt && ! -f requirements.txt ]]; then
        why="builds read only a requirements.txt at the top. Add one with the line \`-r $1/requirements.txt\`."
      fi
      [[ -z $why ]] || echo "$why"
      ;;
  esac
}

# Prints why the script of an interpreter is missing, as the end of a sentence. Prints nothing if the script may exist.
why_no_script() {
  local word interpreter='' file=''
  local -a words
  read -ra words <<<"$1"
  for word in "${words[@]}"; do
    if [[ -z $interpreter ]]; then
      [[ $word == exec ]] || interpreter=${word##*/}
    elif [[ $word == -u || $word == -jar || $word =~ ^-[DX][^[:space:]]*$ || $word =~ ^--[a-z-]+=[A-Za-z0-9]+$ ]]; then
      [[ $word != -jar ]] || interpreter=jar
    else
      file=$word
      break
    fi
  done
  case $interpreter in python | python[23]* | node | php | perl | ruby | bash | sh | jar) ;; *) return 0 ;; esac
  [[ $file =~ ^[A-Za-z0-9_.][A-Za-z0-9_./+-]*$ && ! -e $file ]] || return 0
  # Node itself adds the end of the name, such as .js.
  [[ $interpreter == node ]] && compgen -G "$file.*" >/dev/null && return
  say_missing "$file" "$file"
}

# say_missing WHAT FILE: prints that the file is missing, which the sentence calls WHAT, and why if that is known
say_missing() {
  local language
  if [[ $2 =~ ^bin/(start-[a-z-]*(nginx|pgbouncer|stunnel|proximo)[a-z-]*|runsvdir-dyno|boot)$ ]]; then
    echo "$2 belongs to a buildpack of Heroku. Take it out of the line, and let the command after it listen on \$PORT at 0.0.0.0."
    return
  fi
  language=$(unbuilt_language)
  if [[ -n $language ]]; then echo "there is no $1: $language"; else echo "there is no $1. Add it to the repository, or correct its path."; fi
}

# unbuilt_language: prints a sentence about the first file of a language that no buildpack builds, or prints nothing
unbuilt_language() {
  local pattern language file
  while read -r pattern language; do
    for file in $pattern; do
      [[ -f $file ]] || continue
      echo "$file is for $language, which no buildpack builds here. Compile the tool elsewhere, and commit the result."
      return
    done
  done <<'L'
project.clj Clojure
deps.edn Clojure
build.sbt Scala with sbt
*.sln .NET
*.csproj .NET
*.fsproj .NET
mix.exs Elixir
rebar.config Erlang
gleam.toml Gleam
stack.yaml Haskell
*.cabal Haskell
Package.swift Swift
pubspec.yaml Dart
shard.yml Crystal
CMakeLists.txt C or C++
*.c C
*.cpp C++
L
}

# Tells whether a program of the base system belongs to a Debian package that the base system at run time lacks.
is_build_only() {
  local package packages=${TOOLFORGE_RUN_PACKAGES:-/cnb/run-image/dpkg-status}
  case $1 in
    go) package=golang-go ;;
    mvn) package=maven ;;
    java) package='openjdk-[0-9]+-jre-headless' ;;
    cargo | composer | make | cpanm) package=${1/cpanm/cpanminus} ;;
    *) return 1 ;;
  esac
  # Without a stack, builds and tools see the same base system.
  [[ ${TOOLFORGE_STACK:-} != none && -f $packages ]] && ! grep -qE "^Package: $package\$" "$packages"
}

# similar_program PROGRAM: prints the program of the tool that has the same letters in another order, or nothing
similar_program() {
  local folder path name
  letters_of() { grep -o . <<<"$1" | LC_ALL=C sort | tr -d '\n'; }
  while IFS= read -r folder; do
    [[ $folder == "${CNB_LAYERS_DIR%/*}"/* ]] || continue
    for path in "$folder/${1:0:1}"*; do
      name=${path##*/}
      [[ -x $path && ${#name} -eq ${#1} && $(letters_of "$name") == "$(letters_of "$1")" ]] && echo "$name" && return
    done
  done < <(launch_path)
}

what_to_add() {
  local similar
  case $1 in
    uwsgi) echo "no requirements install it. Add pyuwsgi to requirements.txt." ;;
    gunicorn | uvicorn | hypercorn | daphne | waitress-serve | celery | flask | django-admin | streamlit | alembic | rq)
      echo "no requirements install it. Add $1 to requirements.txt."
      ;;
    python | python3 | pip) echo "nothing installs Python. Add a requirements.txt, which may be empty." ;;
    bun | deno) echo "no buildpack installs it. Add $1 to the dependencies of package.json, and write \`npx $1\`." ;;
    dotnet | sbt | mix | swift | julia) echo "no buildpack installs it. Compile the tool elsewhere, and commit the result." ;;
    node | npm | npx | yarn | pnpm) echo "nothing installs Node.js. Add a package.json with a start script." ;;
    bundle | rails | rake | puma | rackup | unicorn | sidekiq) echo "no Gemfile installs it. Add $1 to the Gemfile." ;;
    *)
      if [[ -x node_modules/.bin/$1 ]]; then
        echo "it is only in node_modules/.bin. Write \`npx $1\`."
      elif similar=$(similar_program "$1") && [[ -n $similar ]]; then
        echo "there is no such program. Write $similar."
      else
        echo "nothing installs it. Add it to the packages of the tool, or write its Debian package into a file Aptfile."
      fi
      ;;
  esac
}
