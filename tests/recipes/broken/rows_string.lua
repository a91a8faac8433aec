-- expect 3: rows_string.lua:10: batch.rows: expected a whole number, got a string
local d = require "dowel"
return d.recipe {
  name = "t",
  model = d.model { path = "../files/model" },
  data = d.pairs { "../files/pairs.jsonl" },
  objective = d.objective "dpo" { beta = 0.1 },
  optimizer = d.adamw { lr = 1e-5 },
  batch = {
    rows = "many" },
  steps = 4,
}
