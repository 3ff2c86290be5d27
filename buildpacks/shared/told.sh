# Reads what a helper program of a buildpack has said, in $said: lines with a key, a tab and a value. Sourced by
# buildpacks.

# told KEY: prints the first value of this key. Prints nothing if the program has not said it.
told() {
  local key value
  while IFS=$'\t' read -r key value; do [[ $key != "$1" ]] || { printf %s "$value" && return; }; done <<<"$said"
}
