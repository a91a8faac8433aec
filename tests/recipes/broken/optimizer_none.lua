-- expect 3: optimizer_none.lua:3: optimizer: expected d.adamw { ... } or d.sgd { ... }, got nothing
local d = require "dowel"
return d.recipe {
  name = "t",
  model = d.model { path = "../files/model" },
  data = d.pairs { "../files/pairs.jsonl" },
  objective = d.objective "dpo" { beta = 0.1 },
  batch = { rows = 2 },
  steps = 4,
}
