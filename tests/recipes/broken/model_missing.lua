-- expect 3: model_missing.lua:6: no model folder 'no/such/model' (looked in {DIR} and in Hugging Face's cache; nothing is downloaded)
local d = require "dowel"
return d.recipe {
  name = "t",
  model = d.model {
    path = "no/such/model" },
  data = d.pairs { "../files/pairs.jsonl" },
  objective = d.objective "dpo" { beta = 0.1 },
  optimizer = d.adamw { lr = 1e-5 },
  batch = { rows = 2 },
  steps = 4,
}
