#!/usr/bin/env bash
# Runs tests: test/run.sh AT_ONCE FILE..., where AT_ONCE is how many files run at once. node sorts the paths of the files. So
# those that begin with / run first: give long files like that, or they run alone at the end.
#
# On a busy machine, a test may wait too short. If tests of at most two files failed, these files run once more, alone,
# and the end of the output names them. What is broken fails again.
set -uo pipefail
cd "$(dirname "$0")/.."

export NODE_COMPILE_CACHE=$PWD/node_modules/.cache/compile
failed=$(mktemp)
trap 'rm -f "$failed"' EXIT
run() { node --test --test-timeout=900000 --test-concurrency="$1" --test-reporter=spec --test-reporter-destination=stdout "${@:2}"; }

run "$1" --test-reporter=./test/support/failed-files.ts --test-reporter-destination="$failed" "${@:2}" && exit
status=$?
mapfile -t files < <(sort -u "$failed")
if [[ ${#files[@]} -eq 0 || ${#files[@]} -gt 2 ]]; then exit "$status"; fi
printf '\n!  Tests failed in this file; it runs once more, alone: %s\n' "${files[@]}"
run 1 "${files[@]}"
