-- Three tasks share one model; the schedule says what each weighs in the loss.
local d = require "dowel"

local turn = "<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"

local demos = {
  data = d.completions { "data/demonstrations.jsonl", prompt = turn, completion = "answer" },
  objective = d.objective "sft" {},
  batch = { rows = 8 },
}
local prefs = {
  data = d.pairs { "data/preferences.jsonl", prompt = turn },
  objective = d.objective "dpo" { beta = d.linear { from = 0.05, to = 0.2 } },
  batch = { rows = 8 },
}
local sums = {
  data = d.prompts { "data/sums.jsonl", prompt = turn },
  rollout = { samples = 8, temperature = 1.0, max_tokens = 16 },
  reward = d.reward "match" { pattern = "= ([0-9]+)\\.", field = "answer" },
  objective = d.objective "grpo" { clip = 0.2 },
  batch = { rows = 4 },
}

return d.recipe {
  name = "mixed",
  seed = 17,
  model = d.model { path = "model" },
  tasks = { demos = demos, prefs = prefs, sums = sums },
  schedule = {
    { steps = 20, demos = 1.0 },
    { steps = 40, demos = 0.2, prefs = d.linear { from = 0.4, to = 1.0 }, sums = 1.0 },
    { steps = 20, sums = 1.0 },
  },
  optimizer = d.adamw { lr = d.cosine { peak = 3e-4, final = 3e-5, warmup = 5 } },
}
