-- expect 3: models_name.lua:9: critic: no model 'critc' in 'models', did you mean 'critic'?
local d = require "dowel"
return d.recipe {
  name = "t",
  model = d.model { path = "../files/model" },
  models = {
    critic = d.model { path = "../files/model" },
  },
  critic = "critc",
  data = d.pairs { "../files/pairs.jsonl" },
  objective = d.objective "dpo" { beta = 0.1 },
  optimizer = d.adamw { lr = 1e-5 },
  steps = 4,
}
