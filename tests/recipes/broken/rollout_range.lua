-- expect 3: rollout_range.lua:6: rollout.samples: expected a whole number from 1 to 4096, got 0
local d = require "dowel"
return d.recipe {
  model = d.model { path = "../files/model" },
  data = d.prompts { "../files/prompts.jsonl" },
  rollout = { samples = 0 },
  reward = d.reward "match" { pattern = "(%d+)", field = "answer" },
  objective = d.objective "grpo" {},
  optimizer = d.adamw { lr = 1e-5 },
  steps = 4,
}
