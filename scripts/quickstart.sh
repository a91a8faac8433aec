#!/bin/sh
# From a fresh Debian to a trained model: installs, builds, trains the model that ships in examples/
# with three objectives at once, and shows what changed.
# usage: sh scripts/quickstart.sh
set -eu
cd "$(dirname "$0")/.."
. scripts/packages.sh
# shellcheck disable=SC2086
need_packages $base_packages

build=build
trap 'give_back "$build" runs' EXIT
if [ ! -f "$build/build.ninja" ]; then
    echo "configuring"
    meson setup "$build" >setup.log 2>&1 || { cat setup.log; exit 1; }
    rm -f setup.log
fi
echo "building"
ninja -C "$build" program >"$build/compile.log" 2>&1 || { tail -n 40 "$build/compile.log"; exit 1; }

dowel=$build/core/dowel
run=runs/quickstart
if [ -f "$run/final/config.json" ]; then
    echo "$run is there already; remove it to train again"
else
    rm -rf "$run"
    "$dowel" run examples/quickstart.lua --out "$run"
fi

ask() { # MODEL: greedy answers to the twenty prompts
    "$dowel" generate "$1" examples/data/prompts20.jsonl --parse-special --greedy --max-new-tokens 48
}
ask examples/model >"$run/before.jsonl"
ask "$run/final" >"$run/after.jsonl"
lua5.4 scripts/before_after.lua "$run/before.jsonl" "$run/after.jsonl" "$run/metrics.jsonl"
echo
echo "The trained model is $run/final, a Hugging Face folder. Talk to it, or look at the run:"
echo "  $dowel generate $run/final"
echo "  $dowel show $run"
