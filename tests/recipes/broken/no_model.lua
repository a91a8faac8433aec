-- expect 3: no_model.lua:3: model: expected d.model { ... }, got nothing
local d = require "dowel"
return d.recipe {
  name = "t",
  data = d.pairs { "../files/pairs.jsonl" },
  objective = d.objective "dpo" { beta = 0.1 },
  optimizer = d.adamw { lr = 1e-5 },
  batch = { rows = 2 },
  steps = 4,
}
