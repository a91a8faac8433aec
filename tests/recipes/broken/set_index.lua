-- expect 3: --set schedule.1.steps=3: schedule is a list of 1, counted from 0; it has no '1'
-- set: schedule.1.steps=3
local d = require "dowel"
return d.recipe {
  name = "t",
  model = d.model { path = "../files/model" },
  data = d.pairs { "../files/pairs.jsonl" },
  objective = d.objective "dpo" { beta = 0.1 },
  optimizer = d.adamw { lr = 1e-5 },
  batch = { rows = 2 },
  steps = 4,
}
