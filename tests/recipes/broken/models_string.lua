-- expect 3: models_string.lua:7: models.old: expected d.model { ... }, got a string
local d = require "dowel"
return d.recipe {
  name = "t",
  model = d.model { path = "../files/model" },
  models = {
    old = "../files/model",
  },
  data = d.pairs { "../files/pairs.jsonl" },
  objective = d.objective "dpo" { beta = 0.1 },
  optimizer = d.adamw { lr = 1e-5 },
  steps = 4,
}
