# Finds the program that serves requests. Sourced by bin/build.

# is_executable ARCHIVE: tells whether the manifest names a main class
is_executable() { unzip -p "$1" META-INF/MANIFEST.MF 2>/dev/null | grep '^Main-Class:' >/dev/null; }

# archives SUFFIX: prints the archives that the build made
archives() {
  find . \( -name .git -o -name src -o -name node_modules \) -prune -o -path "*/$output/*.$1" -not -path "*/$output/*/*" -not -name '*-sources.jar' \
    -not -name '*-javadoc.jar' -not -name '*-tests.jar' -not -name '*-plain.*' -not -name 'original-*' -print | sed 's|^\./||' | sort
}

# choose_program: sets $web to the program that serves, and $another to another executable archive, if there is one. Of
# several archives, one with a word such as web or api in its path counts.
choose_program() {
  local archive file serves='(^|[^a-z])(web|server|api|app)'
  web='' another=''
  # Quarkus makes a folder.
  for file in {.,*}/{target,build}/quarkus-app/quarkus-run.jar; do
    if [[ -f $file ]]; then web=${file#./}; fi
  done
  while IFS= read -r archive; do
    is_executable "$archive" || continue
    if [[ -z $web || (! $web =~ $serves && $archive =~ $serves) ]]; then another=$web web=$archive; else another=$archive; fi
  done < <(archives jar && archives war)
  # Gradle's plugin application makes a script.
  for file in build/install/*/bin/* */build/install/*/bin/*; do
    if [[ -z $web && -f $file && $file != *.bat ]]; then web=$file; fi
  done
}

# say_no_program: says why nothing serves
say_no_program() {
  local war
  war=$(archives war | head -n 1)
  if [[ -f Procfile ]]; then return; fi
  if [[ -n $war ]]; then
    echo " !     $war needs a servlet container such as Tomcat, which is not here: make an executable jar (Spring Boot, Jetty), or run the war with webapp-runner in a Procfile."
  else
    echo " !     The build made no executable jar, so no file says how to start this tool: add a Procfile with a line such as \`web: java -cp target/classes:target/dependency/* org.example.Main\`."
  fi
}
