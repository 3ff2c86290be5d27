# Finds the program that serves requests. Sourced by bin/build.

# is_executable ARCHIVE: tells whether the manifest names a main class
is_executable() { unzip -p "$1" META-INF/MANIFEST.MF 2>/dev/null | grep '^Main-Class:' >/dev/null; }

# archives SUFFIX: prints the archives that the build made, or, without a build, those in the repository
archives() {
  [[ -n ${output:-} ]] || { committed_archives | grep "\.$1$" || true; return; }
  find . \( -name .git -o -name src -o -name node_modules \) -prune -o -path "*/$output/*.$1" -not -path "*/$output/*/*" -not -name '*-sources.jar' \
    -not -name '*-javadoc.jar' -not -name '*-tests.jar' -not -name '*-plain.*' -not -name 'original-*' -print | sed 's|^\./||' | sort
}

# serves ARCHIVE: tells whether an archive is probably a server: its path has a word such as web or api, or the source of
# its module matches the extended regular expression $signs
serves() { [[ $1 =~ (^|[^a-z])(web|server|api|app) ]] || grep -rqsE "$signs" "./${1%%"$output"/*}src"; }

# choose_program: sets $web to the program that serves, and $another to another executable archive, if there is one. If
# there are several archives, takes one that serves.
choose_program() {
  local archive file
  web='' another=''
  # A build with Quarkus makes a folder quarkus-app with the jar that starts the tool.
  for file in {.,*}/{target,build}/quarkus-app/quarkus-run.jar; do
    if [[ -f $file ]]; then web=${file#./}; fi
  done
  while IFS= read -r archive; do
    is_executable "$archive" || continue
    if [[ -z $web ]] || { ! serves "$web" && serves "$archive"; }; then another=$web web=$archive; else another=$archive; fi
  done < <(archives jar && archives war)
  # Gradle's plugin `application` makes a script that starts the tool.
  for file in build/install/*/bin/* */build/install/*/bin/*; do
    if [[ -z $web && -f $file && $file != *.bat ]]; then web=$file; fi
  done
}

# main_class: prints the main class that pom.xml names, or else the only class of the sources with a main method. Prints
# nothing if the sources do not look like a server. The argument is an extended regular expression that matches servers.
main_class() {
  local file class
  grep -rqsE "$1" src/main || return 0
  class=$(sed -nE 's#.*<(exec\.)?mainClass>[[:space:]]*([A-Za-z0-9_.]+)[[:space:]]*<.*#\2#p' pom.xml | sed -n 1p)
  if [[ -z $class ]]; then
    file=$(grep -rlsE --include=*.{java,kt,scala} 'static void main *\(|^(suspend )?fun main *\(|^object [A-Za-z0-9_]+ extends App' src/main)
    [[ -f $file ]] || return 0
    class=${file##*/} class=${class%.*}
    [[ $file != *.kt ]] || class=${class^}Kt
    class=$(sed -nE 's/^package[[:space:]]+([A-Za-z0-9_.]+).*/\1./p' "$file" | sed -n 1p)$class
  fi
  echo "$class"
}

# committed_archives: prints the jars in the repository that were compiled elsewhere
committed_archives() {
  local file
  for file in {,bin/,lib/,dist/,target/,build/libs/}*.[jw]ar; do [[ ! -f $file ]] || echo "$file"; done
}

# runs_committed: tells whether the tool is, or has, a program in a jar that was compiled elsewhere
runs_committed() {
  [[ -n $(committed_archives) ]] || return 1
  runs java || has_line service.template '^type:[[:space:]]*["'\'']?jdk|[^a-z]java[^a-z]' || { ! has_commands && ! has_other_manifest pom.xml; }
}

# choose_committed: sets $web and $another as choose_program does, from the jars in the repository
choose_committed() {
  local archive
  web='' another=''
  while IFS= read -r archive; do
    is_executable "$archive" || continue
    if [[ -z $web ]]; then web=$archive; else another=$archive; fi
  done < <(committed_archives)
}

# say_no_program: says why nothing serves
say_no_program() {
  if [[ -f Procfile ]]; then return; fi
  if [[ ! -f pom.xml && -z $(gradle_file) ]]; then
    echo " !     No jar has a main class, so no file says how to start this tool: add a Procfile with a line such as \`web: java -cp $(committed_archives | sed -n 1p) org.example.Main\`."
  else
    echo " !     The build made no executable jar, so no file says how to start this tool: add a Procfile with a line such as \`web: java -cp target/classes:target/dependency/* org.example.Main\`."
  fi
}
