-- expect 3: data_on_long.lua:6: pairs.on_long: expected one of 'drop', 'cut_prompt', 'error', got 'cut'
local d = require "dowel"
return d.recipe {
  name = "t",
  model = d.model { path = "../files/model" },
  data = d.pairs { "../files/pairs.jsonl", on_long = "cut" },
  objective = d.objective "dpo" { beta = 0.1 },
  optimizer = d.adamw { lr = 1e-5 },
  batch = { rows = 2 },
  steps = 4,
}
