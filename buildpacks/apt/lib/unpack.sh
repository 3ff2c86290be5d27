#!/usr/bin/env bash
# unpack.sh LAYER LINKS PACKAGE: the files of one package, and what its alternatives would link. No script of it is run.
set -euo pipefail
dpkg-deb --extract "$3" "$1"
{ dpkg-deb --info "$3" postinst 2>/dev/null || true; } |
  awk -f "$CNB_BUILDPACK_DIR/lib/alternatives.awk" >"$2/$(basename "$3")"
