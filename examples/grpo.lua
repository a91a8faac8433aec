-- Sample, score with three rewards, learn from the differences within a group.
local d = require "dowel"

local turn = "<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"

-- A reward written in Lua: one sample in, a number and a reason out; nil would be no opinion.
local function full_stop(s)
  if s.stop == "length" then return 0, "cut off" end
  return s.completion:find("%.$") and 1 or 0
end

return d.recipe {
  name = "grpo",
  seed = 17,
  model = d.model { path = "model" },
  data = d.prompts { "data/sums.jsonl", prompt = turn },
  rollout = { samples = 8, temperature = 1.0, max_tokens = 16 },
  reward = d.mix {
    correct = { 1.0, d.reward "match" { pattern = "= ([0-9]+)\\.", field = "answer" } },
    brief = { 0.1, d.reward "brevity" { budget = 40 } },
    ended = { 0.1, d.scorer(full_stop) },
  },
  objective = d.objective "grpo" { clip = 0.2 },
  optimizer = d.adamw { lr = d.constant { value = 2e-4, warmup = 5 } },
  batch = { rows = 8 },
  steps = 60,
  eval = {
    data = d.prompts { "data/sums_heldout.jsonl", prompt = turn },
    every = 20,
    samples = 4,
  },
}
