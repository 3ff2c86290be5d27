# Reads go.mod. Sourced by bin/detect and bin/build.

# module: prints the module path of go.mod
module() { sed -nE 's/^module[[:space:]]+"?([^"[:space:]]+)"?.*/\1/p' go.mod | head -n 1; }

# wanted_go: sets $wanted, the version that go.mod asks for, such as 1.24 or 1.24.3 (empty = any), and $said_by, the name
# of the file. As on Heroku, a comment `// +heroku goVersion` counts most.
wanted_go() {
  said_by='go.mod'
  wanted=$(sed -nE 's#^//[[:space:]]*\+heroku[[:space:]]+goVersion[[:space:]]+(go)?([0-9][0-9.]*).*#\2#p' go.mod | head -n 1)
  [[ -n $wanted ]] && return
  wanted=$(sed -nE 's/^toolchain[[:space:]]+go([0-9][0-9.]*).*/\1/p' go.mod | head -n 1)
  [[ -n $wanted ]] && return
  wanted=$(sed -nE 's/^go[[:space:]]+([0-9][0-9.]*).*/\1/p' go.mod | head -n 1)
}
