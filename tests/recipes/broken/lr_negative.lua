-- expect 3: lr_negative.lua:8: adamw.lr: expected numbers from 0 up, got -1
local d = require "dowel"
return d.recipe {
  name = "t",
  model = d.model { path = "../files/model" },
  data = d.pairs { "../files/pairs.jsonl" },
  objective = d.objective "dpo" { beta = 0.1 },
  optimizer = d.adamw { lr = -1 },
  batch = { rows = 2 },
  steps = 4,
}
