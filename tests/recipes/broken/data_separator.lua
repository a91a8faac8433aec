-- expect 3: data_separator.lua:7: d.pairs has no key 'separator'
local d = require "dowel"
return d.recipe {
  name = "t",
  model = d.model { path = "../files/model" },
  data = d.pairs { "../files/pairs.jsonl",
    separator = "x" },
  objective = d.objective "dpo" { beta = 0.1 },
  optimizer = d.adamw { lr = 1e-5 },
  batch = { rows = 2 },
  steps = 4,
}
