-- expect 3: models_unused.lua:7: model old: no task uses this model
local d = require "dowel"
return d.recipe {
  name = "t",
  model = d.model { path = "../files/model" },
  models = {
    old = d.model { path = "../files/model" },
  },
  data = d.pairs { "../files/pairs.jsonl" },
  objective = d.objective "dpo" { beta = 0.1 },
  optimizer = d.adamw { lr = 1e-5 },
  steps = 4,
}
