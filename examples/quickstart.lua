-- Three objectives, each on its own data, in every optimiser step: demonstrations teach the model who
-- it is, preferences teach it to answer warmly, and a rule reward teaches it to sum.
local d = require "dowel"

local turn = "<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
local said = { pattern = "^[0-9]+ [+] [0-9]+ = ([0-9]+)[.]$", field = "answer" } -- "3 + 5 = 8." earns 1

local who = {
  data = d.completions { "data/demonstrations.jsonl", prompt = turn, completion = "{answer}" },
  objective = d.objective "sft" {},
  batch = { rows = 8 },
  eval = {
    data = d.completions { "data/demonstrations_heldout.jsonl", prompt = turn, completion = "{answer}" },
    every = 40,
  },
}

local warm = {
  data = d.pairs { "data/preferences.jsonl", prompt = turn, chosen = "{chosen}", rejected = "{rejected}" },
  objective = d.objective "dpo" { beta = 0.1 },
  batch = { rows = 8 },
  eval = {
    data = d.pairs { "data/preferences_heldout.jsonl", prompt = turn, chosen = "{chosen}", rejected = "{rejected}" },
    every = 40,
    metric = "rewards/accuracies",
  },
}

local sums = {
  data = d.prompts { "data/sums.jsonl", prompt = turn },
  rollout = { samples = 8, temperature = 1.0, max_tokens = 16 },
  reward = d.reward "match" (said),
  objective = d.objective "grpo" { clip = 0.2 },
  batch = { rows = 8 },
  eval = {
    data = d.prompts { "data/sums_heldout.jsonl", prompt = turn },
    every = 40,
    metric = "reward",
    samples = 4,
  },
}

return d.recipe {
  name = "quickstart",
  seed = 17,
  model = d.model { path = "model" },
  tasks = { who = who, warm = warm, sums = sums },
  schedule = { { steps = 120, who = 1.0, warm = 1.0, sums = 1.0 } },
  optimizer = d.adamw { lr = d.cosine { peak = 1.5e-4, final = 3e-5, warmup = 5 } },
}
