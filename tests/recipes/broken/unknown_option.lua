-- expect 3: unknown_option.lua:9: dpo: no option 'betta', did you mean 'beta'?
local d = require "dowel"
return d.recipe {
  name = "t",
  model = d.model { path = "../files/model" },
  data = d.pairs { "../files/pairs.jsonl" },
  objective = d.objective "dpo" {
    loss = "sigmoid",
    betta = 0.1,
  },
  optimizer = d.adamw { lr = 1e-5 },
  batch = { rows = 2 },
  steps = 4,
}
