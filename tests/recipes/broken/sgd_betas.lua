-- expect 3: sgd_betas.lua:8: d.sgd has no key 'betas'
local d = require "dowel"
return d.recipe {
  name = "t",
  model = d.model { path = "../files/model" },
  data = d.pairs { "../files/pairs.jsonl" },
  objective = d.objective "dpo" { beta = 0.1 },
  optimizer = d.sgd { lr = 1, betas = { 0.9, 0.9 } },
  batch = { rows = 2 },
  steps = 4,
}
