-- expect 3: model_string.lua:5: model: expected d.model { ... }, got a string
local d = require "dowel"
return d.recipe {
  name = "t",
  model = "../files/model",
  data = d.pairs { "../files/pairs.jsonl" },
  objective = d.objective "dpo" { beta = 0.1 },
  optimizer = d.adamw { lr = 1e-5 },
  batch = { rows = 2 },
  steps = 4,
}
