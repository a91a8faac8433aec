-- expect 3: lr_missing.lua:8: d.adamw needs 'lr'
local d = require "dowel"
return d.recipe {
  name = "t",
  model = d.model { path = "../files/model" },
  data = d.pairs { "../files/pairs.jsonl" },
  objective = d.objective "dpo" { beta = 0.1 },
  optimizer = d.adamw { clip = 1 },
  batch = { rows = 2 },
  steps = 4,
}
