-- expect 3: reward_kind.lua:7: 'grpo' is no reward, it is an objective
local d = require "dowel"
return d.recipe {
  model = d.model { path = "../files/model" },
  data = d.prompts { "../files/prompts.jsonl" },
  rollout = { samples = 2, max_tokens = 8 },
  reward = d.reward "grpo" {},
  objective = d.objective "grpo" {},
  optimizer = d.adamw { lr = 1e-5 },
  steps = 4,
}
