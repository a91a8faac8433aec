-- A reward model from comparisons of people, PPO on what it says with a critic of its own, and RLOO on
-- word problems that a rule scores.
-- First: examples/smollm2/prepare.sh puts model and data in place.
local d = require "dowel"

local lora = d.lora { rank = 16, alpha = 32 }

local function comparisons(file)
  return d.pairs { file, split_marker = "\n\nAssistant:", max_tokens = 256, on_long = "drop" }
end
local function prompts(file, n)
  return d.prompts { file, max_tokens = 160, on_long = "drop", max_rows = n }
end

local reward = d.recipe {
  seed = 17,
  model = d.model { path = "model", adapter = lora },
  data = comparisons("data/hh_train.jsonl"),
  objective = d.objective "reward" { center = 0.01 },
  optimizer = d.adamw { lr = d.cosine { peak = 2e-4, final = 2e-5, warmup = 5 } },
  batch = { rows = 8 },
  steps = 60,
  eval = { data = comparisons("data/hh_heldout.jsonl"), every = 60, metric = "accuracy" },
}

local ppo = d.recipe {
  seed = 17,
  model = d.model { path = "model", adapter = lora },
  models = {
    rm = d.model { path = d.stage "reward" },
    critic = d.model { path = d.stage "reward", trains = true },
  },
  data = prompts("data/hh_prompts_train.jsonl", 0),
  critic = "critic",
  rollout = { samples = 2, temperature = 1.0, max_tokens = 32, epochs = 2 },
  reward = d.mix { rm = { 1.0, d.scored_by "rm" } },
  objective = d.objective "ppo" { kl = 0.02 },
  optimizer = d.adamw { lr = d.cosine { peak = 1e-4, final = 1e-5, warmup = 2 } },
  batch = { rows = 8 },
  steps = 40,
  eval = { data = prompts("data/hh_prompts_heldout.jsonl", 40), every = 40, metric = "reward" },
}

local shot = "Question: Tom has 3 apples. He buys 4 more. How many apples does Tom have?\nAnswer: 3 + 4 = 7\n\n"
  .. "Question: Ann had 9 pens. She gave 2 to Ben. How many pens does Ann have now?\nAnswer: 9 - 2 = 7\n\n"
  .. "Question: {Body} {Question}\nAnswer:"
local function problems(file, n)
  return d.prompts { file, prompt = shot, max_rows = n }
end

local rloo = d.recipe {
  seed = 17,
  model = d.model { path = "model", adapter = lora },
  data = problems("data/svamp_train.jsonl", 0),
  rollout = { samples = 8, temperature = 1.0, max_tokens = 16, stop = { "\n" } },
  reward = d.mix {
    correct = { 1.0, d.reward "match" { pattern = "= *(-?[0-9][0-9,]*[.]?[0-9]*)", field = "Answer" } },
    form = { 0.5, d.scorer(function(s)
      return s.completion:find("^ %d+ [-+*/] %d+ = %d+\n?$") and 1 or 0
    end) },
  },
  objective = d.objective "rloo" { kl = 0.02 },
  optimizer = d.adamw { lr = d.cosine { peak = 2e-4, final = 2e-5, warmup = 3 } },
  batch = { rows = 8 },
  steps = 24,
  eval = { data = problems("data/svamp_heldout.jsonl", 100), every = 24, metric = "reward" },
}

return d.stages { { "reward", reward }, { "ppo", ppo }, { "rloo", rloo } }
