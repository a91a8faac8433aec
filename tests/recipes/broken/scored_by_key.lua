-- expect 3: scored_by_key.lua:7: d.scored_by has no key 'seperator', did you mean 'separator'?
local d = require "dowel"
return d.recipe {
  model = d.model { path = "../files/model" },
  models = { rm = d.model { path = "../files/model" } },
  data = d.prompts { "../files/prompts.jsonl" },
  reward = d.scored_by("rm", { seperator = ";" }),
  rollout = {},
  objective = d.objective "grpo" {},
  optimizer = d.adamw { lr = 1e-5 },
  steps = 4,
}
