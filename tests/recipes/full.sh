#!/bin/sh
# A file that may not grow any further (a quota, ulimit -f) ends the run as a full disk does: with a line that
# names the file and exit code 5, not with a signal.
# usage: full.sh DOWEL SOURCE_ROOT
dowel=$1 root=$2
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
echo 1..1
(ulimit -f 1000 && exec "$dowel" run "$root/examples/sft.lua" --out "$out/run" --quiet --set epochs=1 --threads 1) 2>"$out/said"
code=$?
if [ $code = 5 ] && grep -q 'model.safetensors: cannot write: File too large' "$out/said"; then
    echo "ok 1 - a file too large"
else
    echo "not ok 1 - a file too large"
    echo "# exit code $code: $(cat "$out/said")"
fi
