-- expect 3: reward_function.lua:7: reward: expected d.reward "id" { ... }, d.scorer(fn), d.scored_by "model" or d.mix { ... }, got a function (a word without its table { })
local d = require "dowel"
return d.recipe {
  model = d.model { path = "../files/model" },
  data = d.prompts { "../files/prompts.jsonl" },
  rollout = { samples = 2, max_tokens = 8 },
  reward = function(s) return 1 end,
  objective = d.objective "grpo" {},
  optimizer = d.adamw { lr = 1e-5 },
  steps = 4,
}
