-- expect 3: model_key.lua:7: d.model has no key 'adaptor', did you mean 'adapter'?
local d = require "dowel"
return d.recipe {
  name = "t",
  model = d.model {
    path = "../files/model",
    adaptor = d.lora { rank = 4 },
  },
  data = d.pairs { "../files/pairs.jsonl" },
  objective = d.objective "dpo" { beta = 0.1 },
  optimizer = d.adamw { lr = 1e-5 },
  batch = { rows = 2 },
  steps = 4,
}
