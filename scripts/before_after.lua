-- Prints greedy answers of two models side by side, then the held-out figures of the run between them.
-- Usage: lua5.4 scripts/before_after.lua BEFORE.jsonl AFTER.jsonl [METRICS.jsonl]
-- Exits 1 when no answer changed.

local unescape = { n = "\n", t = "\t", r = "\r", b = "\b", f = "\f" }
local function field(line, name)
  local at = select(2, line:find('"' .. name .. '":%s*"'))
  if not at then return nil end
  local out, i = {}, at + 1
  while true do
    local c = line:sub(i, i)
    if c == '"' or c == "" then break end
    if c == "\\" then
      i = i + 1
      local e = line:sub(i, i)
      if e == "u" then
        out[#out + 1] = utf8.char(tonumber(line:sub(i + 1, i + 4), 16))
        i = i + 4
      else
        out[#out + 1] = unescape[e] or e
      end
    else
      out[#out + 1] = c
    end
    i = i + 1
  end
  return table.concat(out)
end
local function number(line, name)
  local pattern = '"' .. name:gsub("[%-/]", "%%%0") .. '":%s*(-?[%d%.eE+-]+)'
  return tonumber(line:match(pattern))
end
local function answers(path)
  local out = {}
  for line in io.lines(path) do
    out[#out + 1] = { kind = field(line, "kind"), question = field(line, "question"),
      text = (field(line, "text"):gsub("%s+", " "):gsub("^ ", "")) }
  end
  return out
end
local function cut(s, n) return #s > n and s:sub(1, n - 3) .. "..." or s end

local before, after = answers(arg[1]), answers(arg[2])
assert(#before == #after and #before > 0, "the two files do not belong together")
local changed = 0
print(("%-34s %-44s %s"):format("question", "before", "after"))
for i, b in ipairs(before) do
  local same = b.text == after[i].text
  if not same then changed = changed + 1 end
  print(("%-34s %-44s %s"):format(cut(b.question, 33), cut(b.text, 43), same and "(same)" or cut(after[i].text, 60)))
end
print(("\n%d of %d greedy answers changed"):format(changed, #before))

if arg[3] then
  local first, last = {}, {}
  local shown = {
    { "who/eval_loss", "demonstrations: held-out loss" },
    { "warm/eval_rewards/accuracies", "preferences: held-out accuracy" },
    { "sums/eval_reward", "sums: held-out reward" },
  }
  for line in io.lines(arg[3]) do
    for _, s in ipairs(shown) do
      local v = number(line, s[1])
      if v then
        first[s[1]] = first[s[1]] or v
        last[s[1]] = v
      end
    end
  end
  print(("\n%-34s %10s %10s"):format("figure", "before", "after"))
  for _, s in ipairs(shown) do
    if first[s[1]] then print(("%-34s %10.3f %10.3f"):format(s[2], first[s[1]], last[s[1]])) end
  end
end
os.exit(changed > 0 and 0 or 1)
