-- expect 3: scored_by_implicit.lua:7: tasks.main.rewards.rm.implicit: every token has its own reward, so 'signed', 'separator' and 'steps' say nothing
local d = require "dowel"
return d.recipe {
  model = d.model { path = "../files/model" },
  models = { rm = d.model { path = "../files/model" } },
  data = d.prompts { "../files/prompts.jsonl" },
  reward = d.scored_by("rm", { implicit = true, steps = "min" }),
  rollout = {},
  objective = d.objective "grpo" {},
  optimizer = d.adamw { lr = 1e-5 },
  steps = 4,
}
