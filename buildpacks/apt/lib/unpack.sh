#!/usr/bin/env bash
# unpack.sh LAYER LINKS PACKAGE: unpacks a package into the folder LAYER. Writes to the folder LINKS which links the
# package's script would make with update-alternatives. The script does not run.
set -euo pipefail
dpkg-deb --extract "$3" "$1"
{ dpkg-deb --info "$3" postinst 2>/dev/null || true; } |
  awk -f "$CNB_BUILDPACK_DIR/lib/alternatives.awk" >"$2/$(basename "$3")"
