-- expect 3: eval_type.lua:11: eval.data: expected pairs as in the task's own data, got texts
local d = require "dowel"
return d.recipe {
  name = "t",
  model = d.model { path = "../files/model" },
  data = d.pairs { "../files/pairs.jsonl" },
  objective = d.objective "dpo" { beta = 0.1 },
  optimizer = d.adamw { lr = 1e-5 },
  batch = { rows = 2 },
  steps = 4,
  eval = { data = d.texts { "../files/texts.jsonl" }, every = 2 },
}
