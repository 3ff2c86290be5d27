#!/usr/bin/env bash
# unpack.sh LAYER LINKS PACKAGE: unpacks one package, and lists the links of its alternatives. Its scripts do not run.
set -euo pipefail
dpkg-deb --extract "$3" "$1"
{ dpkg-deb --info "$3" postinst 2>/dev/null || true; } |
  awk -f "$CNB_BUILDPACK_DIR/lib/alternatives.awk" >"$2/$(basename "$3")"
