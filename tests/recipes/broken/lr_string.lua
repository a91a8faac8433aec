-- expect 3: lr_string.lua:9: adamw.lr: expected a number or a schedule, got a string
local d = require "dowel"
return d.recipe {
  name = "t",
  model = d.model { path = "../files/model" },
  data = d.pairs { "../files/pairs.jsonl" },
  objective = d.objective "dpo" { beta = 0.1 },
  optimizer = d.adamw {
    lr = "1e-5" },
  batch = { rows = 2 },
  steps = 4,
}
