#!/usr/bin/env bash
# Brings what the tests need from Debian: installs it where we may, and names it where we may not.
set -euo pipefail

packages=(bubblewrap passt util-linux procps openssh-client git perl python3 python3-venv curl tar ca-certificates build-essential)
missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
if [[ ${#missing[@]} -eq 0 ]]; then exit 0; fi
if [[ $(id -u) -ne 0 ]]; then
  echo " !     The tests need more from Debian: sudo apt-get install ${missing[*]}" >&2
  exit 1
fi
echo "-----> Installing ${missing[*]}"
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
