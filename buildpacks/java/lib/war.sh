# Lets Tomcat serve a war file. Sourced by bin/build.

# The versions of Tomcat for applications with javax.servlet (Tomcat 9) and with jakarta.servlet (Tomcat 10.1)
tomcat_javax=9.0.124 tomcat_jakarta=10.1.62

# is_jakarta WAR: tells whether an application uses the names of Jakarta EE 9 and later
is_jakarta() {
  { unzip -p "$1" 'WEB-INF/web.xml' 'WEB-INF/classes/*' || true && unzip -Z1 "$1" 'WEB-INF/lib/*' || true; } 2>/dev/null |
    grep -aE 'jakarta/servlet|jakarta/ws|xml/ns/jakartaee|/spring-web-[6-9]' >/dev/null
}

# serve_war WAR: puts Tomcat and a small program for it into a layer, and sets $web to the command that serves the war
serve_war() {
  local layer=$CNB_LAYERS_DIR/tomcat release=$tomcat_javax
  if is_jakarta "$1"; then release=$tomcat_jakarta; fi
  echo "-----> Installing Tomcat $release, because $1 needs a servlet container"
  prepare_maven
  rm -rf "$layer"
  mkdir -p "$layer"
  cp "$CNB_BUILDPACK_DIR/lib/tomcat.xml" "${TMPDIR:-/tmp}/tomcat.xml"
  mvn_quietly -f "${TMPDIR:-/tmp}/tomcat.xml" "-Dtomcat.version=$release" \
    org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies "-DoutputDirectory=$layer"
  "$jdk/bin/javac" -cp "$layer/*" -d "$layer" "$CNB_BUILDPACK_DIR/lib/ServeWar.java"
  printf '[types]\nlaunch = true\n' >"$layer.toml"
  web="java -cp $layer:$layer/* ServeWar $1" served="Tomcat $release for $1"
}
