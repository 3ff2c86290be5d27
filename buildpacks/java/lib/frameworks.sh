# Gives the programs of frameworks the port, if these do not read it from a variable. Sourced by bin/build.

# framework_options: sets $before, what a shell does before it starts the program, and $after, the arguments of the
# program. Both are empty for programs without such a framework.
framework_options() {
  before='' after=''
  if grep -qsE 'io\.dropwizard' pom.xml */pom.xml build.gradle{,.kts}; then
    dropwizard_options
  elif grep -rqsE 'io\.ktor\.server\.[a-z]+\.EngineMain' --include=*.{kt,xml,gradle,kts} src pom.xml build.gradle{,.kts}; then
    after=' -port=$PORT'
  fi
}

# dropwizard_options: a program of Dropwizard reads its settings from a file, and has no default port in a variable
dropwizard_options() {
  local file settings=''
  for file in config.y*ml {config,example,application,server,*}.y*ml config/*.y*ml; do
    [[ -f $file && $file != @(toolforge|jobs|docker-compose|compose|cronjobs).* ]] || continue
    settings=$file
    break
  done
  after=" server${settings:+ $settings}"
  if [[ -n $settings ]] && has_line "$settings" 'applicationConnectors:'; then
    before='-Ddw.server.applicationConnectors[0].port=$PORT'
  else
    before='-Ddw.server.type=simple -Ddw.server.connector.type=http -Ddw.server.connector.port=$PORT'
    if [[ -z $settings ]] || ! has_line "$settings" 'applicationContextPath:|type:[[:space:]]*simple'; then before+=' -Ddw.server.applicationContextPath=/'; fi
  fi
  before="export JAVA_OPTS=\"\${JAVA_OPTS:-} $before\"; "
}
