# Runs the Gradle of a tool. Sourced by bin/build.

# gradle_file: prints the name of Gradle's file at the top, if there is one
gradle_file() {
  local file
  for file in build.gradle build.gradle.kts settings.gradle settings.gradle.kts; do
    [[ ! -f $file ]] || { echo "$file" && return; }
  done
}

# run_gradle: builds the tool with its own gradlew, because only gradlew knows which Gradle the tool needs. Sets $output
# to the folder in which each module has its jars.
run_gradle() {
  local home=$CNB_LAYERS_DIR/gradle errors=${TMPDIR:-/tmp}/gradle.txt url
  local -a tasks
  output=build/libs
  if [[ ! -f gradlew || ! -f gradle/wrapper/gradle-wrapper.jar ]]; then
    echo " !     This tool has no Gradle of its own: run \`gradle wrapper\`, commit gradlew and gradle/wrapper (also the jar) and push again."
    exit 1
  fi
  mkdir -p "$home"
  printf '[types]\ncache = true\n' >"$home.toml"
  read -ra tasks <<<"${GRADLE_TASK:-$(gradle_tasks)}"
  echo "-----> ./gradlew ${tasks[*]}"
  export GRADLE_USER_HOME=$home
  if [[ -n $certificates ]]; then export JAVA_TOOL_OPTIONS="-Djavax.net.ssl.trustStore=$certificates ${JAVA_TOOL_OPTIONS:-}"; fi
  # Start gradlew by sh, because a gradlew that was committed on Windows may not be executable.
  if ! sh ./gradlew --no-daemon --console=plain "${tasks[@]}" 2>&1 | tee "$errors" | sed -u '/^Picked up JAVA_TOOL_OPTIONS/d' | indent; then
    url=$(sed -nE 's/^distributionUrl=//p' gradle/wrapper/gradle-wrapper.properties 2>/dev/null | tr -d '\\\r')
    if grep -qE '^Exception in thread "main" java\.(net|io)\.|^Caused by: java\.net\.' "$errors"; then
      echo " !     gradlew cannot download $url. The server, or a mirror that distributionUrl in gradle-wrapper.properties names, must be reachable. A pom.xml for Maven works too."
    fi
    exit 1
  fi
  unset JAVA_TOOL_OPTIONS
}

# gradle_tasks: prints the tasks that build the tool. As on Heroku, a task `stage` counts most.
gradle_tasks() {
  if cat build.gradle build.gradle.kts 2>/dev/null | grep -E '(task|register|create)[[:space:](]+["'\'']?stage' >/dev/null; then
    echo stage
  elif cat build.gradle build.gradle.kts 2>/dev/null | grep -E '^[[:space:]]*(id[[:space:](]+["'\'']application["'\'']|application([[:space:]]|$)|apply.*["'\'']application["'\''])' >/dev/null; then
    echo 'build installDist -x check'
  else
    echo 'build -x check'
  fi
}
