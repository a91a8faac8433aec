-- expect 3: data_string.lua:6: data: expected d.texts, d.completions, d.pairs, d.prompts, d.labels, d.steps or d.lists { ... }, got a string
local d = require "dowel"
return d.recipe {
  name = "t",
  model = d.model { path = "../files/model" },
  data = "../files/pairs.jsonl",
  objective = d.objective "dpo" { beta = 0.1 },
  optimizer = d.adamw { lr = 1e-5 },
  batch = { rows = 2 },
  steps = 4,
}
