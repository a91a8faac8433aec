-- expect 3: rollout_missing.lua:3: rollout: missing: prompts have no answers, so they need one
local d = require "dowel"
return d.recipe {
  model = d.model { path = "../files/model" },
  data = d.prompts { "../files/prompts.jsonl" },
  objective = d.objective "grpo" {},
  optimizer = d.adamw { lr = 1e-5 },
  steps = 4,
}
