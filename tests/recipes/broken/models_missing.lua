-- expect 3: models_missing.lua:7: no model folder '../files/nowhere' (looked in {DIR} and in Hugging Face's cache; nothing is downloaded)
local d = require "dowel"
return d.recipe {
  name = "t",
  model = d.model { path = "../files/model" },
  models = {
    old = d.model { path = "../files/nowhere" },
  },
  reference = "old",
  data = d.pairs { "../files/pairs.jsonl" },
  objective = d.objective "dpo" { beta = 0.1 },
  optimizer = d.adamw { lr = 1e-5 },
  steps = 4,
}
