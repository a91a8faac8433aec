-- The classical pipeline: demonstrations, a reward model from comparisons, then PPO on what that model
-- says, held near the start by a divergence penalty. One file, one command:
--   dowel run rlhf.lua
-- What to look at: the reward model's eval_accuracy on comparisons it has not seen (stage reward), and
-- rewards/rm/mean against objective/kl (stage ppo; dowel show draws both).
local d = require "dowel"

local turn = "<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"

local function answers(file)
  return d.completions { file, prompt = turn, completion = "{answer}" }
end
local function comparisons(file)
  return d.pairs { file, prompt = turn, chosen = "{chosen}", rejected = "{rejected}" }
end
local function questions(file)
  return d.prompts { file, prompt = turn }
end

local sft = d.recipe {
  seed = 17,
  model = d.model { path = "model" },
  data = answers("data/demonstrations.jsonl"),
  objective = d.objective "sft" {},
  batch = { rows = 8 },
  steps = 30,
  optimizer = d.adamw { lr = 1e-4 },
  eval = { data = answers("data/demonstrations_heldout.jsonl"), every = 15 },
}

local reward = d.recipe {
  seed = 17,
  model = d.model { path = d.stage "sft" },
  data = comparisons("data/preferences.jsonl"),
  objective = d.objective "reward" { center = 0.01 },
  batch = { rows = 8 },
  steps = 60,
  optimizer = d.adamw { lr = d.cosine { peak = 2e-4, final = 2e-5, warmup = 5 } },
  eval = { data = comparisons("data/preferences_heldout.jsonl"), every = 30, metric = "accuracy" },
}

local ppo = d.recipe {
  seed = 17,
  model = d.model { path = d.stage "sft" },
  models = {
    rm = d.model { path = d.stage "reward" },
    critic = d.model { path = d.stage "reward", trains = true },
  },
  data = questions("data/preferences.jsonl"),
  critic = "critic",
  rollout = { samples = 4, temperature = 1.0, max_tokens = 32, epochs = 2, minibatches = 2 },
  reward = d.mix { rm = { 1.0, d.scored_by "rm" } },
  objective = d.objective "ppo" { kl = 0.05 },
  batch = { rows = 8 },
  steps = 80,
  optimizer = d.adamw { lr = d.cosine { peak = 1e-4, final = 1e-5, warmup = 4 } },
  eval = { data = questions("data/preferences_heldout.jsonl"), every = 40, metric = "reward" },
}

return d.stages { { "sft", sft }, { "reward", reward }, { "ppo", ppo } }
