-- expect 3: with_type.lua:13: optimizer.lr: expected a number or a schedule, got a string
local d = require "dowel"
local base = d.recipe {
  name = "t",
  model = d.model { path = "../files/model" },
  data = d.pairs { "../files/pairs.jsonl" },
  objective = d.objective "dpo" { beta = 0.1 },
  optimizer = d.adamw { lr = 1e-5 },
  batch = { rows = 2 },
  steps = 4,
}
return base:with {
  ["optimizer.lr"] = "x",
}
