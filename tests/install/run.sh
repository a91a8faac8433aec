#!/bin/sh
# Installs the build into an empty folder, builds the example plugin against that copy alone, and asks
# the installed program about it.  usage: tests/install/run.sh BUILD
set -eu
build=$(cd "${1:?usage: run.sh BUILD}" && pwd)
source=$(cd "$(dirname "$0")/../.." && pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
n=0
ok() {
    n=$((n + 1))
    echo "ok $n - $1"
}
die() {
    echo "not ok $((n + 1)) - $1"
    exit 1
}
unset DOWEL_PLUGIN_PATH CPATH
export XDG_DATA_HOME="$tmp/data" TMPDIR="$tmp"

DESTDIR="$tmp/root" meson install -C "$build" --no-rebuild --quiet >"$tmp/log" 2>&1 ||
    { cat "$tmp/log"; die "meson install"; }
pc=$(find "$tmp/root" -name dowel.pc)
[ -f "$pc" ] || die "dowel.pc is installed"
ok "dowel.pc is installed"
export PKG_CONFIG_LIBDIR="${pc%/*}" PKG_CONFIG_SYSROOT_DIR="$tmp/root"
prefix=$(pkg-config --variable=prefix dowel)
plugindir=$(PKG_CONFIG_SYSROOT_DIR= pkg-config --variable=plugindir dowel)
dowel="$tmp/root/${prefix#"$tmp/root"}/bin/dowel"
dowel=$(echo "$dowel" | tr -s /)
[ -x "$dowel" ] || die "the program is installed"
[ "$(pkg-config --variable=abi dowel)" = 1.0 ] || die "abi"
ok "the program is installed, for plugin interface 1.0"

cp -r "$source/examples/plugin" "$tmp/example"
rm -f "$tmp"/example/*.so
make -s -C "$tmp/example" CFLAGS='-O2 -Wall -Wextra -Werror'
ok "the example builds against the installed header alone"

cd / # nothing may be found through the working directory
out=$("$dowel" plugins --plugin-dir "$tmp/example" org.example.closing)
echo "$out" | grep -q '^org.example.closing 1.0.0 (reward) - ' || die "$out"
echo "$out" | grep -q 'otherwise  *real  *0 ' || die "$out"
ok "found by its id in a folder named by --plugin-dir"
"$dowel" plugins "$tmp/example/closing.so" | grep -q '^org.example.closing' || die "by file"
ok "found by its file"
(cd "$tmp/example" && ! "$dowel" plugins org.example.closing 2>"$tmp/err") || die "found in ."
grep -q "no plugin 'org.example.closing'" "$tmp/err" || die "$(cat "$tmp/err")"
ok "not found through the working directory"

env -u PKG_CONFIG_SYSROOT_DIR make -s -C "$tmp/example" install DESTDIR="$tmp/root"
list=$(DOWEL_PLUGIN_PATH="$tmp/root$plugindir" "$dowel" plugins)
for id in sft dpo grpo match brevity org.example.closing; do
    echo "$list" | grep -q "^$id " || die "$id is not among the installed: $list"
done
ok "the installed folder holds every plugin and the example"
# Two steps of training that earn the example's reward, by the installed program and scripts alone.
cat >"$tmp/recipe.lua" <<'LUA'
local d = require "dowel"
return d.recipe {
  name = "closing", seed = 1, plugin_dirs = { "example" },
  model = d.model { path = "model" },
  data = d.prompts { "sums.jsonl", prompt = "<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n" },
  rollout = { samples = 4, max_tokens = 16 },
  reward = d.reward "org.example.closing" {},
  objective = d.objective "grpo" {},
  optimizer = d.adamw { lr = 1e-4 },
  batch = { rows = 2 }, steps = 2,
}
LUA
cp -r "$source/examples/model" "$tmp/model"
cp "$source/examples/data/sums.jsonl" "$tmp"
share="$tmp/root${plugindir%/lib*}/share/dowel/lua"
[ -f "$share/dowel.lua" ] || die "the scripts are installed"
DOWEL_SCRIPTS="$share" DOWEL_PLUGIN_PATH="$tmp/root$plugindir" "$dowel" run "$tmp/recipe.lua" --out "$tmp/run" --quiet
grep -q '"rewards":{"' "$tmp/run/samples.jsonl" || die "$(tail -n 1 "$tmp/run/samples.jsonl")"
[ -f "$tmp/run/final/model.safetensors" ] || die "a trained model"
ok "two steps of training with the example's reward"
chmod o+w "$tmp/example/closing.so"
! "$dowel" plugins "$tmp/example/closing.so" 2>"$tmp/err" || die "loaded a writable file"
grep -q 'everybody may write' "$tmp/err" || die "$(cat "$tmp/err")"
ok "refused when anybody may write to it"
echo "1..$n"
