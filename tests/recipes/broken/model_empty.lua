-- expect 3: model_empty.lua:5: the model folder '../files/nomodel' holds no config.json
local d = require "dowel"
return d.recipe {
  name = "t",
  model = d.model { path = "../files/nomodel" },
  data = d.pairs { "../files/pairs.jsonl" },
  objective = d.objective "dpo" { beta = 0.1 },
  optimizer = d.adamw { lr = 1e-5 },
  batch = { rows = 2 },
  steps = 4,
}
