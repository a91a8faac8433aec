-- expect 3: rollout_key.lua:7: rollout has no key 'temprature', did you mean 'temperature'?
local d = require "dowel"
return d.recipe {
  model = d.model { path = "../files/model" },
  data = d.prompts { "../files/prompts.jsonl" },
  rollout = { samples = 2,
    temprature = 1 },
  reward = d.reward "match" { pattern = "(%d+)", field = "answer" },
  objective = d.objective "grpo" {},
  optimizer = d.adamw { lr = 1e-5 },
  steps = 4,
}
