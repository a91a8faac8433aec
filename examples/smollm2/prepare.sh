#!/bin/sh
# Puts the model and the data of these recipes in place and splits the data into train and held-out.
# usage: sh prepare.sh MODEL_FOLDER HH_RLHF_JSONL SVAMP_JSON
#   MODEL_FOLDER   SmolLM2-135M-Instruct as a Hugging Face folder (scripts/smollm2_to_hf.py makes one),
#                  or its .gguf file
#   HH_RLHF_JSONL  harmless-base/test.jsonl of anthropics/hh-rlhf, unpacked (MIT)
#   SVAMP_JSON     SVAMP.json of arkilpatel/SVAMP (MIT)
set -eu
[ $# = 3 ] || { sed -n 2,6p "$0"; exit 2; }
model=$(realpath "$1") hh=$(realpath "$2") svamp=$(realpath "$3")
cd "$(dirname "$0")"
mkdir -p data
case $model in
*.gguf) ln -sfn "$model" model.gguf ;;
*) ln -sfn "$model" model ;;
esac
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
# The same comparisons as single answers with a label, and as prompts: strings are handed on as they are
# escaped, the prompt ends after the last turn that both halves share.
for part in train heldout; do
  lua5.4 - "$part" <<'LUA'
local part = arg[1]
local labels = assert(io.open("data/hh_labels_" .. part .. ".jsonl", "wb"))
local prompts = assert(io.open("data/hh_prompts_" .. part .. ".jsonl", "wb"))
local turn = [[\n\nAssistant:]]
local function split(text)
  local at, from = nil, 1
  while true do
    local a, b = text:find(turn, from, true)
    if not a then return at and text:sub(1, at), at and text:sub(at + 1) end
    at, from = b, b + 1
  end
end
for line in io.lines("data/hh_" .. part .. ".jsonl") do
  local chosen, rejected = line:match('^%s*{%s*"chosen":%s*"(.*)",%s*"rejected":%s*"(.*)"%s*}%s*$')
  local prompt, good = split(chosen)
  local other, bad = split(rejected)
  if prompt and prompt == other and good ~= bad then
    labels:write('{"prompt": "', prompt, '", "completion": "', good, '", "label": true}\n')
    labels:write('{"prompt": "', prompt, '", "completion": "', bad, '", "label": false}\n')
    prompts:write('{"prompt": "', prompt, '"}\n')
  end
end
LUA
done
# The same comparisons as messages: the turns both halves share, and the two answers to them.
for part in train heldout; do
  lua5.4 - "$part" <<'LUA'
local part = arg[1]
local out = assert(io.open("data/hh_chat_" .. part .. ".jsonl", "wb"))
local roles = { Human = "user", Assistant = "assistant" }
local function trim(s) return (s:gsub("^[ ]+", ""):gsub("[ ]+$", "")) end
-- Texts stay as JSON spells them: a turn begins with \n\nHuman: or \n\nAssistant:.
local function turns(text)
  local list, at, role = {}, 1, nil
  while true do
    local a, b, who = text:find("\\n\\n(%u%l+):", at)
    while a and not roles[who] do a, b, who = text:find("\\n\\n(%u%l+):", b + 1) end
    if role then
      list[#list + 1] = '{"role": "' .. role .. '", "content": "' .. trim(text:sub(at, (a or 0) - 1)) .. '"}'
    end
    if not a then return list end
    role, at = roles[who], b + 1
  end
end
for line in io.lines("data/hh_" .. part .. ".jsonl") do
  local chosen, rejected = line:match('^%s*{%s*"chosen":%s*"(.*)",%s*"rejected":%s*"(.*)"%s*}%s*$')
  local a, b = turns(chosen), turns(rejected)
  local good, bad = table.remove(a), table.remove(b)
  local prompt = table.concat(a, ", ")
  local empty = '"content": ""}'
  if #a > 0 and prompt == table.concat(b, ", ") and good ~= bad and good:find('"assistant"', 1, true)
    and bad:find('"assistant"', 1, true) and not (good .. bad):find(empty, 1, true) then
    out:write('{"prompt": [', prompt, '], "chosen": [', good, '], "rejected": [', bad, ']}\n')
  end
end
LUA
done
# Sums in steps, right and wrong ones, from the examples next door.
cp ../data/steps.jsonl ../data/steps_heldout.jsonl data/
wc -l data/*.jsonl
