# Downloads packages of the npm registry with a program that the machine has: curl, else python3, else Node. Sourced by
# the bin/build of the buildpacks node, yarn and pnpm, together with package.sh.

registry=${npm_config_registry:-${NPM_CONFIG_REGISTRY:-https://registry.npmjs.org}}
registry=${registry%/}

# fetch URL FILE [HEADER]: downloads URL into FILE
fetch() {
  local url=$1 file=$2 header=${3:-Accept: */*}
  if command -v curl >/dev/null; then
    curl -fsSL --retry 3 --connect-timeout 20 -H "$header" -o "$file" "$url"
  elif command -v python3 >/dev/null; then
    python3 - "$url" "$file" "$header" <<'P'
import shutil, sys, urllib.request
url, file, header = sys.argv[1:]
name, _, value = header.partition(": ")
try:
    with urllib.request.urlopen(urllib.request.Request(url, headers={name: value}), timeout=60) as answer:
        with open(file, "wb") as out:
            shutil.copyfileobj(answer, out)
except OSError as error:
    sys.exit("%s: %s" % (url, error))
P
  elif command -v node >/dev/null; then
    node --input-type=module - "$url" "$file" "$header" <<'J'
import { writeFile } from 'node:fs/promises';
const [url, file, header] = process.argv.slice(2);
const [name, value] = header.split(': ');
const answer = await fetch(url, { headers: { [name]: value } });
if (!answer.ok) throw new Error(`${url}: ${answer.status}`);
await writeFile(file, Buffer.from(await answer.arrayBuffer()));
J
  else
    echo " !     This server has no program that can download: ask its operator to install the Debian package curl or python3."
    return 1
  fi
}

# fetch_package NAME VERSION FOLDER: downloads a package of the npm registry, checks its SHA-512, and unpacks it into
# FOLDER
fetch_package() {
  local name=$1 version=$2 folder=$3 work lines integrity expected actual
  work=$(mktemp -d)
  if ! fetch "$registry/$name/$version" "$work/about.json"; then
    echo " !     $name $version is not available from the npm registry${manager_said_by:+: $manager_said_by in package.json asks for it}."
    return 1
  fi
  lines=$(json "$work/about.json")
  integrity=$(field "$lines" 'dist|integrity')
  fetch "$(field "$lines" 'dist|tarball')" "$work/package.tgz"
  if [[ $integrity != sha512-* ]]; then
    echo " !     The npm registry has no SHA-512 of $name $version, so it cannot be checked. Ask for a newer version."
    return 1
  fi
  expected=$(base64 -d <<<"${integrity#sha512-}" | od -An -v -tx1 | tr -d ' \n')
  actual=$(sha512sum "$work/package.tgz" | cut -d' ' -f1)
  if [[ $actual != "$expected" ]]; then
    echo " !     $name $version was changed or damaged on its way: its SHA-512 is $actual. Push again. If this repeats, tell the operator."
    return 1
  fi
  mkdir -p "$folder"
  tar -xzf "$work/package.tgz" -C "$folder" --strip-components=1 --no-same-owner --no-same-permissions
  rm -rf "$work"
}

# versions_of PACKAGE: prints the versions of a package in the npm registry, the oldest first
versions_of() {
  local list
  list=$(mktemp)
  fetch "$registry/$1" "$list" 'Accept: application/vnd.npm.install-v1+json' || return
  grep -oE '"[0-9]+\.[0-9]+\.[0-9]+"[[:space:]]*:[[:space:]]*\{' "$list" | grep -oE '[0-9.]+' | sort -V
  rm -f "$list"
}

# manager_version PACKAGE DEFAULT: prints the version of the package manager to install. This is DEFAULT if package.json
# allows it ($manager_range), or else the newest version that package.json allows.
manager_version() {
  local version=''
  newest() { awk -v range="$manager_range" -f "$CNB_BUILDPACK_DIR/lib/semver.awk"; }
  if [[ -z $manager_range ]] || { version=$(newest <<<"$2") && [[ -n $version ]]; }; then
    echo "$2"
  elif [[ $manager_range =~ ^=?v?([0-9]+\.[0-9]+\.[0-9]+)$ ]]; then
    echo "${BASH_REMATCH[1]}"
  elif version=$(versions_of "$1" | newest) && [[ -n $version ]]; then
    echo "$version"
  else
    echo " !     $manager_said_by in package.json asks for $manager $manager_range, which does not exist: write a version such as $2." >&2
    return 1
  fi
}

# install_manager NAME PACKAGE VERSION: installs a package manager in a layer, and puts it into the PATH
install_manager() {
  local name=$1 package=$2 version=$3 layer=$CNB_LAYERS_DIR/$1
  # The lifecycle indents the metadata of the last build.
  if [[ -x $layer/bin/$name ]] && grep -qsE "^[[:space:]]*version = \"${version//./\\.}\"$" "$layer.toml"; then
    echo "-----> Reusing $name $version"
  else
    echo "-----> Installing $name $version"
    rm -rf "$layer"
    fetch_package "$package" "$version" "$layer/lib"
    mkdir -p "$layer/bin"
    chmod 755 "$layer/lib/bin"/*
    ln -sfn "../lib/$(field "$(json "$layer/lib/package.json")" "bin|$name" | sed 's|^\./||')" "$layer/bin/$name"
  fi
  # The lifecycle drops the types of a layer from the last build, so each build writes them again.
  printf '[types]\nlaunch = true\nbuild = true\ncache = true\n\n[metadata]\nversion = "%s"\n' "$version" >"$layer.toml"
  export PATH="$layer/bin:$PATH"
}
