#!/bin/sh
# Puts the model and the data of these recipes in place and splits the data into train and held-out.
# usage: sh prepare.sh MODEL_FOLDER HH_RLHF_JSONL SVAMP_JSON
#   MODEL_FOLDER   SmolLM2-135M-Instruct as a Hugging Face folder (scripts/smollm2_to_hf.py makes one)
#   HH_RLHF_JSONL  harmless-base/test.jsonl of anthropics/hh-rlhf, unpacked (MIT)
#   SVAMP_JSON     SVAMP.json of arkilpatel/SVAMP (MIT)
set -eu
[ $# = 3 ] || { sed -n 2,6p "$0"; exit 2; }
model=$(realpath "$1") hh=$(realpath "$2") svamp=$(realpath "$3")
cd "$(dirname "$0")"
mkdir -p data
ln -sfn "$model" model
# Rows whose halves differ before the last turn say nothing about one answer; the recipe counts them.
total=$(wc -l <"$hh")
head -n $((total - 200)) "$hh" >data/hh_train.jsonl
tail -n 200 "$hh" >data/hh_heldout.jsonl
lua5.4 - "$svamp" <<'LUA'
-- SVAMP is an array of flat objects: every fifth goes to the held-out file, as JSON lines.
local text = io.open(arg[1]):read("a")
local train, held = assert(io.open("data/svamp_train.jsonl", "wb")), assert(io.open("data/svamp_heldout.jsonl", "wb"))
local n = 0
for object in text:gmatch("%b{}") do
  n = n + 1
  local to = n % 5 == 0 and held or train
  to:write((object:gsub("%s*\n%s*", " ")), "\n")
end
train:close()
held:close()
LUA
wc -l data/*.jsonl
