-- expect 3: rows_zero.lua:9: batch.rows: expected a whole number from 1 to 65536, got 0
local d = require "dowel"
return d.recipe {
  name = "t",
  model = d.model { path = "../files/model" },
  data = d.pairs { "../files/pairs.jsonl" },
  objective = d.objective "dpo" { beta = 0.1 },
  optimizer = d.adamw { lr = 1e-5 },
  batch = { rows = 0 },
  steps = 4,
}
