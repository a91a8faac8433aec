-- expect 3: eval_key.lua:12: eval has no key 'evry', did you mean 'every'?
local d = require "dowel"
return d.recipe {
  name = "t",
  model = d.model { path = "../files/model" },
  data = d.pairs { "../files/pairs.jsonl" },
  objective = d.objective "dpo" { beta = 0.1 },
  optimizer = d.adamw { lr = 1e-5 },
  batch = { rows = 2 },
  steps = 4,
  eval = { data = d.pairs { "../files/pairs.jsonl" },
    evry = 2 },
}
