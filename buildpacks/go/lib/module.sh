# Reads go.mod or go.work. Sourced by bin/detect and bin/build.

# The file that says which Go is needed. A go.work lists several modules.
file=go.mod
[[ -f go.mod || ! -f go.work ]] || file=go.work

# line_of EXPRESSION [NUMBER]: prints the group NUMBER (default: 1) of an extended regular expression, from the first
# line of $file that matches
line_of() { tr -d '\r' <"$file" | sed -nE "s#$1#\\${2:-1}#p" | head -n 1; }

# module: prints the module path of go.mod
module() { line_of '^module[[:space:]]+"?([^"[:space:]]+)"?.*'; }

# wanted_go: sets $wanted, the version that $file asks for, such as 1.24 or 1.24.3 (empty = any). As on Heroku, a
# comment `// +heroku goVersion` counts most.
wanted_go() {
  local line
  for line in '//[[:space:]]*\+heroku[[:space:]]+goVersion[[:space:]]+[=^~>]*(go)?' 'toolchain[[:space:]]+(go)' 'go[[:space:]]+()'; do
    wanted=$(line_of "^$line([0-9][0-9.]*).*" 2)
    [[ -z $wanted ]] || return 0
  done
}
