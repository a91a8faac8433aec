-- expect 3: data_missing.lua:8: no data file '../files/pears.jsonl' (looked in {DIR})
local d = require "dowel"
return d.recipe {
  name = "t",
  model = d.model { path = "../files/model" },
  data = d.pairs {
    "../files/pairs.jsonl",
    "../files/pears.jsonl" },
  objective = d.objective "dpo" { beta = 0.1 },
  optimizer = d.adamw { lr = 1e-5 },
  batch = { rows = 2 },
  steps = 4,
}
