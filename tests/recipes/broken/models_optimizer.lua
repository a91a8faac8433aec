-- expect 3: models_optimizer.lua:7: model old.optimizer: expected d.adamw { ... } or d.sgd { ... }, got a number
local d = require "dowel"
return d.recipe {
  name = "t",
  model = d.model { path = "../files/model" },
  models = {
    old = d.model { path = "../files/model", optimizer = 3 },
  },
  critic = "old",
  data = d.pairs { "../files/pairs.jsonl" },
  objective = d.objective "dpo" { beta = 0.1 },
  optimizer = d.adamw { lr = 1e-5 },
  steps = 4,
}
