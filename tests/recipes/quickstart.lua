-- The quickstart's promise: training changes greedy answers in the way its three objectives ask for.
-- Usage: lua5.4 quickstart.lua BEFORE.jsonl AFTER.jsonl   (answers to examples/data/prompts20.jsonl)
local function answers(path)
  local out = {}
  for line in io.lines(path) do
    out[#out + 1] = { kind = line:match('"kind":%s*"(%w+)"'), text = line:match('"text":%s*"(.-)","') or line:match('"text":%s*"(.-)"') }
  end
  return out
end
local before, after = answers(arg[1]), answers(arg[2])

local n, good_before, good_after = {}, {}, {}
local wanted = {
  sft = function(t) return t:lower():find("dowel", 1, true) end,
  dpo = function(t) return t:find("^Good question! ") or t:find("^Happy to help! ") end,
  grpo = function(t)
    local a, b, c = t:match("^(%d+) %+ (%d+) = (%d+)%.$")
    return a and tonumber(a) + tonumber(b) == tonumber(c)
  end,
}
local changed = 0
for i, b in ipairs(before) do
  local k = b.kind
  n[k] = (n[k] or 0) + 1
  if b.text ~= after[i].text then changed = changed + 1 end
  if wanted[k] then
    good_before[k] = (good_before[k] or 0) + (wanted[k](b.text) and 1 or 0)
    good_after[k] = (good_after[k] or 0) + (wanted[k](after[i].text) and 1 or 0)
  end
end

local failed, count = 0, 0
local function check(ok, fmt, ...)
  count = count + 1
  if not ok then failed = failed + 1 end
  print((ok and "ok " or "not ok ") .. count .. " - " .. fmt:format(...))
end
print("1..5")
check(#before == 20 and #after == 20, "20 answers before and after")
check(changed >= 10, "%d of 20 greedy answers changed, at least 10", changed)
for _, k in ipairs { "sft", "dpo", "grpo" } do
  check(good_before[k] <= n[k] // 2 and good_after[k] > n[k] // 2, "%s: %d of %d as wanted before, %d after", k, good_before[k], n[k], good_after[k])
end
os.exit(failed == 0 and 0 or 1)
