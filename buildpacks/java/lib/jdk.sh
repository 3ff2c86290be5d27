# Finds the JDK that fits a tool. Sourced by bin/detect and bin/build.

# wanted_java: sets $wanted, the Java version that the source asks for, such as 21 (empty = any), and $said_by, the
# file.
wanted_java() {
  local key
  said_by=system.properties wanted=''
  [[ -f system.properties ]] &&
    wanted=$(sed -nE 's/^[[:space:]]*java\.runtime\.version[[:space:]]*[=:][[:space:]]*//p' system.properties | head -n 1)
  if [[ -z $wanted && -f pom.xml ]]; then
    said_by=pom.xml
    for key in maven.compiler.release java.version maven.compiler.target release; do
      wanted=$(sed -nE "s#.*<$key>[[:space:]]*([0-9.]+)[[:space:]]*</$key>.*#\\1#p" pom.xml | head -n 1)
      [[ -n $wanted ]] && break
    done
  elif [[ -z $wanted && -z $(gradle_file) ]]; then
    # `type: jdk17`
    said_by=service.template
    [[ ! -f $said_by ]] || wanted=$(sed -nE 's/^type:[[:space:]]*["'\'']?jdk([0-9]+).*/\1/p' "$said_by")
  elif [[ -z $wanted ]]; then
    for said_by in build.gradle build.gradle.kts; do
      # `sourceCompatibility = '1.8'`, `JavaVersion.VERSION_17`, `JavaLanguageVersion.of(21)`, `jvmToolchain(21)`
      [[ ! -f $said_by ]] || wanted=$(sed -nE 's/.*(JavaLanguageVersion\.of|jvmToolchain|(source|target)Compatibility)[^0-9]*(1\.)?([0-9]+).*/\4/p' "$said_by" | head -n 1)
      [[ -z $wanted ]] || break
    done
  fi
  # Java 8 was also called 1.8. Only the first number chooses the JDK.
  wanted=${wanted#1.}
  wanted=$(sed -nE 's/^[^0-9]*([0-9]+).*/\1/p' <<<"$wanted")
}

# jdks: prints `VERSION FOLDER` for each JDK of the system and of the Aptfile, the oldest first
jdks() {
  local folder version
  for folder in {,"${CNB_LAYERS_DIR%/*}/toolforge_apt/apt"}/usr/lib/jvm/*/; do
    [[ -x $folder/bin/javac && ! -L ${folder%/} ]] || continue
    version=$(sed -nE 's/^JAVA_VERSION="(1\.)?([0-9]+).*/\2/p' "$folder/release" 2>/dev/null)
    echo "${version:-0} ${folder%/}"
  done | sort -n
}

# choose_jdk: sets $jdk to the folder of the oldest JDK that is new enough, and $chosen to its version. Both are empty
# if there is none. Newer JDKs compile and run older code.
choose_jdk() {
  read -r chosen jdk < <(jdks | awk -v least="${wanted:-17}" '$1 >= least { print; exit }') || true
}
