#!/usr/bin/env bash
# Installs the Debian packages that the tests need, or names them if this user may not install.
set -euo pipefail

packages=(bubblewrap passt util-linux iproute2 nftables procps openssh-client git perl python3 python3-venv curl tar ca-certificates build-essential python3-seccomp openssl slapd ldap-utils mmdebstrap uidmap debian-archive-keyring php-cli php-fpm php-curl php-mbstring composer unzip apache2-bin nginx-light cpanminus carton starman libmojolicious-perl lighttpd ruby ruby-bundler puma ruby-rack postgresql mariadb-server-core mariadb-client-core redis-server)
missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
# Without udev, only root may open the device. Opening it to others gives nobody a network: see networking/tuntap in the
# kernel's documentation.
tun=/dev/net/tun
if [[ $(id -u) -eq 0 ]]; then
  mkdir -p "${tun%/*}"
  [[ -e $tun ]] || mknod -m 666 "$tun" c 10 200
  chmod 666 "$tun"
elif [[ ! -w $tun ]]; then
  echo " !     The tests isolate tools, which needs a device that everyone may open: sudo chmod 0666 $tun" >&2
  exit 1
fi
if [[ ${#missing[@]} -eq 0 ]]; then exit 0; fi
if [[ $(id -u) -ne 0 ]]; then
  echo " !     The tests need more from Debian: sudo apt-get install ${missing[*]}" >&2
  exit 1
fi
echo "-----> Installing ${missing[*]}"
# Prevents Debian from starting slapd, because the tests start their own. See /usr/share/doc/init-system-helpers.
policy=/usr/sbin/policy-rc.d
if [[ ! -e $policy ]]; then
  trap 'rm -f "$policy"' EXIT
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
fi
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
