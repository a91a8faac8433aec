-- expect 3: option_range.lua:8: dpo: beta: -1 is outside 1e-06 .. 100
local d = require "dowel"
return d.recipe {
  name = "t",
  model = d.model { path = "../files/model" },
  data = d.pairs { "../files/pairs.jsonl" },
  objective = d.objective "dpo" { loss = "sigmoid",
    beta = -1 },
  optimizer = d.adamw { lr = 1e-5 },
  batch = { rows = 2 },
  steps = 4,
}
