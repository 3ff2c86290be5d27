# Runs Maven. Sourced by bin/build.

# run_maven: builds the tool, and sets $output to the folder in which each module has its jar
run_maven() {
  local -a options goals
  output=target
  prepare_maven
  # As on Heroku, these variables and settings.xml change what Maven does.
  read -ra options <<<"${MAVEN_CUSTOM_OPTS:--DskipTests}"
  read -ra goals <<<"${MAVEN_CUSTOM_GOALS:-package}"
  echo "-----> mvn ${settings[*]:+${settings[*]} }${options[*]} ${goals[*]}"
  mvn_quietly "${options[@]}" "${goals[@]}"
}

# prepare_maven: sets what mvn_quietly needs
prepare_maven() {
  local file=${MAVEN_SETTINGS_PATH:-settings.xml}
  repository=$CNB_LAYERS_DIR/repository settings=()
  if ! command -v mvn >/dev/null; then
    echo " !     There is no Maven on this server: ask its operator to install the Debian package maven.$(in_stack Maven)"
    exit 1
  fi
  mkdir -p "$repository"
  printf '[types]\ncache = true\n' >"$repository.toml"
  if [[ -f $file ]]; then settings=(-s "$file"); fi
  if [[ -n $certificates ]]; then export MAVEN_OPTS="-Djavax.net.ssl.trustStore=$certificates ${MAVEN_OPTS:-}"; fi
}

# mvn_quietly WORD…: runs Maven with the settings of prepare_maven
mvn_quietly() {
  # Remove codes for colours, with which Maven ends its output, and the lines in which Maven explains its options after
  # an error.
  mvn -B -q -ntp -Dstyle.color=never "-Dmaven.repo.local=$repository" "${settings[@]}" "$@" 2>&1 |
    sed -u -E $'s/\x1b\\[[0-9;]*m//g; /^\\[ERROR\\] ?($|To see the full|Re-run Maven|For more information about|\\[Help [0-9])/d' | indent
}
