-- expect 3: scorer_value.lua:7: d.scorer: expected a function of a sample, got a number
local d = require "dowel"
return d.recipe {
  model = d.model { path = "../files/model" },
  data = d.prompts { "../files/prompts.jsonl" },
  rollout = { samples = 2, max_tokens = 8 },
  reward = d.scorer(1),
  objective = d.objective "grpo" {},
  optimizer = d.adamw { lr = 1e-5 },
  steps = 4,
}
