-- expect 3: data_steps.lua:7: dpo trains on pairs or prompts, but the data of this task is steps
local d = require "dowel"
return d.recipe {
  name = "t",
  model = d.model { path = "../files/model" },
  data = d.steps { "../files/pairs.jsonl" },
  objective = d.objective "dpo" { beta = 0.1 },
  optimizer = d.adamw { lr = 1e-5 },
  batch = { rows = 2 },
  steps = 4,
}
