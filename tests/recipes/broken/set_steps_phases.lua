-- expect 3: --set steps=3: the schedule has 2 phases: schedule.0.steps and so on
-- set: steps=3
local d = require "dowel"
return d.recipe {
  name = "t",
  model = d.model { path = "../files/model" },
  data = d.pairs { "../files/pairs.jsonl" },
  objective = d.objective "dpo" { beta = 0.1 },
  optimizer = d.adamw { lr = 1e-5 },
  batch = { rows = 2 },
  schedule = { { steps = 2, main = 1.0 }, { steps = 2, main = 0.5 } },
}
