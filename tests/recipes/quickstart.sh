#!/bin/sh
# Trains the model that ships as scripts/quickstart.sh does, and checks what changed.
# usage: quickstart.sh DOWEL SOURCE_ROOT
set -eu
dowel=$1 root=$2
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
"$dowel" run "$root/examples/quickstart.lua" --out "$out/run" --quiet >"$out/log" 2>&1 || { cat "$out/log"; exit 1; }
for m in before after; do
    model=$root/examples/model
    [ $m = before ] || model=$out/run/final
    "$dowel" generate "$model" "$root/examples/data/prompts20.jsonl" --parse-special --greedy --max-new-tokens 48 >"$out/$m.jsonl"
done
lua5.4 "$root/tests/recipes/quickstart.lua" "$out/before.jsonl" "$out/after.jsonl"
