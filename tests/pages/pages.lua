-- Every recipe that README.md and the pages under plugins/ show is completed to a whole one and trained on the
-- model that ships: what the pages say must run, as it stands there.
-- lua5.4 pages.lua DOWEL SOURCE_ROOT [WORD]      (only the pages whose path has the word)
local dowel, root, only = arg[1], arg[2], arg[3]

local function output(command)
  local pipe = io.popen(command .. " 2>&1")
  local text = pipe:read("a")
  return pipe:close(), text
end
local function read(path)
  local f = assert(io.open(path))
  local text = f:read("a")
  f:close()
  return text
end
local function write(path, text)
  local f = assert(io.open(path, "w"))
  f:write(text)
  f:close()
end

-- The recipes of a page: fenced blocks in Lua, and indented blocks that use the vocabulary.
local function recipes(text)
  local list, block, fence = {}, nil, nil
  local function ends()
    if block and block:find("d%.%l") then list[#list + 1] = block end
    block = nil
  end
  for line in (text .. "\n"):gmatch("(.-)\n") do
    local mark = line:match("^```(%l*)")
    if mark then
      ends()
      fence = not fence and mark or nil
      block = fence == "lua" and "" or nil
    elseif fence then
      block = block and block .. line .. "\n"
    elseif line:find("^    ") then
      block = (block or "") .. line:sub(5) .. "\n"
    else
      ends()
    end
  end
  ends()
  return list
end

-- The files that the pages name, eight rows each; %d counts, %a is the sum, %b is true or false.
local function files(folder)
  local asked = '"prompt": "What is %d plus 2?\\n", "question": "What is %d plus 2?"'
  local lines = {
    prompts = asked .. ', "answer": "So.\\n#### %a"',
    answers = asked .. ', "completion": "It is %a."',
    demos = asked .. ', "answer": "It is %a."',
    pairs = asked .. ', "chosen": "It is %a.", "rejected": "No idea."',
    triples = asked .. ', "chosen": "It is %a.", "rejected": "No idea.", "gold": "Good question! %a."',
    labels = asked .. ', "completion": "It is %a.", "label": %b',
    solutions = asked .. ', "steps": ["%a.", "It is so."], "labels": [true, %b]',
    ranked = asked .. ', "completions": ["It is %a.", "No.", "Two."], "ranks": [1, 3, 2]',
  }
  lines.sums, lines.gsm8k = lines.prompts, lines.prompts
  lines.comparisons, lines.pairs_heldout = lines.pairs, lines.pairs
  for name, line in pairs(lines) do
    local text = ""
    for n = 1, 8 do
      local values = { d = n, a = n + 2, b = tostring(n % 2 == 0) }
      text = text .. "{" .. line:gsub("%%(%l)", values) .. "}\n"
    end
    write(folder .. "/" .. name .. ".jsonl", text)
  end
  for _, name in ipairs { "model", "teacher", "phi", "SmolLM2-135M-Instruct" } do
    assert(output(("ln -s '%s/examples/model' '%s/%s'"):format(root, folder, name)))
  end
end

-- What a page leaves out because every recipe has it.
local whole = [[
local d = require "dowel"
local r = {
%s}
if r.tasks then
  r.schedule[1].steps = 2
  for _, task in pairs(r.tasks) do
    task.batch = { rows = 4 }
    if task.rollout then task.rollout.max_tokens = 8 end
  end
else
  r.steps = 2
  r.batch = { rows = 4 }
  if not (r.objective or r.objectives) then r.objective = d.objective "grpo" {} end
  if not r.data or r.rollout then
    r.data = r.data or d.prompts { "prompts.jsonl" }
    r.rollout = r.rollout or { samples = 4 }
    r.rollout.max_tokens = 8
    local learns_alone = r.teacher and not r.estimator and not r.objectives
    if not r.reward and not learns_alone then r.reward = d.mix { correct = { 1, d.reward "match" {} } } end
  end
  if r.teacher and r.teacher ~= "self" then
    r.models = r.models or { [r.teacher] = d.model { path = r.teacher } }
  end
end
r.seed = 17
r.model = r.model or d.model { path = "model" }
r.optimizer = d.adamw { lr = 1e-4 }
return d.recipe(r)
]]

local made, scratch = output("mktemp -d")
assert(made, scratch)
scratch = scratch:gsub("%s+$", "")
files(scratch)

-- nil, or what dowel said: the recipe did not run.
local function refused(name, text, set)
  write(scratch .. "/" .. name .. ".lua", text)
  local good, told = output(("'%s' run '%s/%s.lua' --out '%s/runs/%s' --quiet --threads 1 %s"):format(dowel, scratch, name,
    scratch, name, set or ""))
  return not good and told or nil
end

local count, failed = 0, 0
local function row(name, said)
  count = count + 1
  if said then failed = failed + 1 end
  print(("%s %d - %s"):format(said and "not ok" or "ok", count, name))
  if said then print("# " .. said:gsub("%s+$", ""):gsub("\n", "\n# ")) end
end

-- Sequence classifiers, for pages that score with one.
assert(not refused("judge", whole:format('data = d.pairs { "pairs.jsonl" }, objective = d.objective "reward" {}\n')))
for _, name in ipairs { "rm", "cost" } do
  assert(output(("ln -s runs/judge/final '%s/%s'"):format(scratch, name)))
end

for page in io.popen("ls '" .. root .. "'/plugins/*/*.md"):lines() do
  if not only or page:find(only, 1, true) then
    local name = page:match("(%l+/[%w_]+)%.md$")
    local found = recipes(read(page))
    local said = #found == 0 and "no recipe on this page" or nil
    for k, text in ipairs(found) do
      if text:find("return d%.recipe") then
        text = text:gsub("steps = %d+", "steps = 2")
      else -- a constructor alone is an objective on pairs, the rest are fields
        local alone = text:find("^d%.objective") and 'data = d.pairs { "pairs.jsonl" }, objective = ' or ""
        text = whole:gsub("%%s", function() return alone .. text end)
      end
      said = said or refused(name:gsub("/", "-") .. k, text)
    end
    row(name, said)
  end
end

-- README.md: the first recipe, and the one that combines its three tasks.
if not only or ("README.md"):find(only, 1, true) then
  local found = recipes(read(root .. "/README.md"))
  local tasks = found[1]:match("^(.-)return d%.recipe")
  row("README: a recipe", refused("first", found[1], "--set schedule.0.steps=1 --set schedule.1.steps=1"
    .. " --set tasks.sums.rollout.max_tokens=8"))
  row("README: several objectives", refused("second", tasks .. found[2], "--set schedule.0.steps=2"
    .. " --set tasks.sums.rollout.max_tokens=8 --set gradients_every=1"))
end
output("rm -rf '" .. scratch .. "'")
print("1.." .. count)
assert(only or count >= 39, "pages are missing")
os.exit(failed == 0 and 0 or 1)
