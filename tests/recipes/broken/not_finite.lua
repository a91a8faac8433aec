-- expect 3: not_finite.lua:8: adamw.lr: expected a finite number, got infinity
local d = require "dowel"
return d.recipe {
  name = "t",
  model = d.model { path = "../files/model" },
  data = d.pairs { "../files/pairs.jsonl" },
  objective = d.objective "dpo" { beta = 0.1 },
  optimizer = d.adamw { lr = 1 / 0 },
  batch = { rows = 2 },
  steps = 4,
}
