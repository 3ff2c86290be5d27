# Downloads files with a program that the machine has: curl, else python3, else Node. Sourced by bin/build.

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
    echo " !     Nothing here can download: install the Debian package curl or python3."
    return 1
  fi
}

# fetch_package NAME VERSION FOLDER: downloads a package of the npm registry, checks its SHA-512, and unpacks it into
# FOLDER
fetch_package() {
  local name=$1 version=$2 folder=$3 work lines integrity expected actual
  work=$(mktemp -d)
  fetch "$registry/$name/$version" "$work/about.json"
  lines=$(json "$work/about.json")
  integrity=$(field "$lines" 'dist|integrity')
  fetch "$(field "$lines" 'dist|tarball')" "$work/package.tgz"
  if [[ $integrity != sha512-* ]]; then
    echo " !     The registry has no SHA-512 of $name $version."
    return 1
  fi
  expected=$(base64 -d <<<"${integrity#sha512-}" | od -An -v -tx1 | tr -d ' \n')
  actual=$(sha512sum "$work/package.tgz" | cut -d' ' -f1)
  if [[ $actual != "$expected" ]]; then
    echo " !     $name $version is not what the registry says it is: its SHA-512 is $actual."
    return 1
  fi
  mkdir -p "$folder"
  tar -xzf "$work/package.tgz" -C "$folder" --strip-components=1 --no-same-owner --no-same-permissions
  rm -rf "$work"
}
