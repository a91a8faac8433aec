-- expect 3: schedule_from.lua:8: adamw.lr.from: expected a number, got nothing
local d = require "dowel"
return d.recipe {
  name = "t",
  model = d.model { path = "../files/model" },
  data = d.pairs { "../files/pairs.jsonl" },
  objective = d.objective "dpo" { beta = 0.1 },
  optimizer = d.adamw { lr = d.linear { to = 1 } },
  batch = { rows = 2 },
  steps = 4,
}
