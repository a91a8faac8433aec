-- expect 3: reward_missing.lua:3: reward: grpo credits answers by their rewards, and there is none
local d = require "dowel"
return d.recipe {
  model = d.model { path = "../files/model" },
  data = d.prompts { "../files/prompts.jsonl" },
  rollout = { samples = 2, max_tokens = 8 },
  objective = d.objective "grpo" {},
  optimizer = d.adamw { lr = 1e-5 },
  steps = 4,
}
