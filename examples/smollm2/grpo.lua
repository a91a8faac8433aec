-- GRPO on word problems: the number after the last "=" against the row's, and a rule in Lua for sound sums.
-- First: examples/smollm2/prepare.sh puts model and data in place.
local d = require "dowel"

-- Two worked examples show the form; a small model rarely answers a bare question with a number.
local prompt = "Question: Tom has 3 apples. He buys 4 more. How many apples does Tom have?\nAnswer: 3 + 4 = 7\n\n"
  .. "Question: Ann had 9 pens. She gave 2 to Ben. How many pens does Ann have now?\nAnswer: 9 - 2 = 7\n\n"
  .. "Question: {Body} {Question}\nAnswer:"

-- One sum, of numbers that stand in the problem, that comes out right.
local function sound(s)
  local a, op, b, c = s.completion:match("^ (%d+) ([-+*/]) (%d+) = (%d+)\n?$")
  if not a then return 0, "not one sum" end
  local problem = " " .. s.row.Body .. " " .. s.row.Question .. " "
  if not (problem:find("%D" .. a .. "%D") and problem:find("%D" .. b .. "%D")) then return 0, "other numbers" end
  a, b, c = tonumber(a), tonumber(b), tonumber(c)
  local right = op == "+" and a + b or op == "-" and a - b or op == "*" and a * b or b ~= 0 and a / b
  return c == right and 1 or 0.3, c == right and "sound" or "wrong sum"
end

local function problems(file)
  return d.prompts { file, prompt = prompt }
end

return d.recipe {
  name = "svamp-grpo",
  seed = 17,
  model = d.model { path = "model", adapter = d.lora { rank = 16, alpha = 32 } },
  data = problems("data/svamp_train.jsonl"),
  rollout = { samples = 8, temperature = 1.0, max_tokens = 16, stop = { "\n" } },
  reward = d.mix {
    correct = { 1.0, d.reward "match" { pattern = "= *(-?[0-9][0-9,]*[.]?[0-9]*)", field = "Answer" } },
    sound = { 0.5, d.scorer(sound) },
  },
  objective = d.objective "grpo" { clip = 0.2 },
  optimizer = d.adamw { lr = d.cosine { peak = 2e-4, final = 2e-5, warmup = 3 } },
  batch = { rows = 8 },
  steps = 40,
  eval = { data = problems("data/svamp_heldout.jsonl"), every = 40, metric = "reward" },
}
