-- expect 3: constraint_bound.lua:8: d.constraint needs one of 'at_most' and 'at_least'
local d = require "dowel"
return d.recipe {
  model = d.model { path = "../files/model" },
  data = d.pairs { "../files/pairs.jsonl" },
  objective = d.objective "dpo" {}, optimizer = d.adamw { lr = 1e-5 }, steps = 4,
  constraints = {
    safe = d.constraint { metric = "loss", task = "main" },
  },
}
