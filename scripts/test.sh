#!/bin/sh
# Installs what the tests need, builds, runs every test. Last line: "N passed, N failed".
# usage: sh scripts/test.sh [BUILD_DIR [MESON_OPTION...]]
set -eu
cd "$(dirname "$0")/.."
. scripts/packages.sh
# shellcheck disable=SC2086
need_packages $base_packages libcmocka-dev clang-format clang-tidy

build=${1:-build}
[ $# -gt 0 ] && shift
trap 'give_back "$build"' EXIT
again=
[ ! -f "$build/build.ninja" ] || again=--reconfigure
# quickstart.sh configures without the tests when their library is missing.
if [ -z "$again" ] || ! grep -q tests/unit "$build/build.ninja"; then
    meson setup $again "$build" -Dtests=enabled "$@" >"$build.setup.log" 2>&1 || { cat "$build.setup.log"; exit 1; }
    rm -f "$build.setup.log"
fi
ninja -C "$build" >"$build/compile.log" 2>&1 || { tail -n 60 "$build/compile.log"; echo "0 passed, 1 failed"; exit 1; }

rm -f "$build/meson-logs/testlog-full.txt"
status=0
meson test -C "$build" --no-rebuild --setup full --num-processes 2 || status=$?
lua5.4 scripts/count_tests.lua "$build/meson-logs/testlog-full.txt" || status=1
exit $status
