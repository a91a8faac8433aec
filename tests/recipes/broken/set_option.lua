-- expect 3: --set objective.options.beta=-3: dpo: beta: -3 is outside 1e-06 .. 100
-- set: objective.options.beta=-3
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
