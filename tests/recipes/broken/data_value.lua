-- expect 3: data_value.lua:7: label: expected a field's name, a format or a function, got true
local d = require "dowel"
return d.recipe {
  name = "t",
  model = d.model { path = "../files/model" },
  data = d.labels { "../files/pairs.jsonl",
    label = true },
  objective = d.objective "dpo" { beta = 0.1 },
  optimizer = d.adamw { lr = 1e-5 },
  batch = { rows = 2 },
  steps = 4,
}
