#!/usr/bin/env bash
# Installs the servers that the measurements compare with. Without root, it only names the missing packages.
# No service of Debian keeps running: the measurements start their own servers, on free ports of 127.0.0.1.
set -euo pipefail

# apache2-bin is the server without Debian's service and configuration.
packages=(git openssh-client openssh-server apache2-bin procps python3)
missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
if [[ $(id -u) -ne 0 ]]; then
  if [[ ${#missing[@]} -eq 0 ]]; then exit 0; fi
  echo " !     The measurements need more from Debian: sudo apt-get install ${missing[*]}" >&2
  exit 1
fi
if [[ ${#missing[@]} -gt 0 ]]; then
  echo "-----> Installing ${missing[*]}"
  # Every package asks this script before it starts a service (invoke-rc.d(8)). The exit status 101 forbids the start.
  policy=/usr/sbin/policy-rc.d
  if [[ ! -e $policy ]]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    trap 'rm -f "$policy"' EXIT
  fi
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
  if [[ " ${missing[*]} " == *' openssh-server '* ]] && command -v systemctl >/dev/null; then
    systemctl --quiet disable ssh.service ssh.socket 2>/dev/null || true
  fi
fi
# sshd confines its unprivileged part in this folder, which Debian's service makes at each start.
mkdir -p -m 0755 /run/sshd
