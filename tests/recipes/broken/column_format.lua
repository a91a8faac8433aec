-- expect 3: column_format.lua:7: pairs.prompt: format '{prompt' has a '{' without '}' (write {{ for one)
local d = require "dowel"
return d.recipe {
  name = "t",
  model = d.model { path = "../files/model" },
  data = d.pairs { "../files/pairs.jsonl",
    prompt = "{prompt" },
  objective = d.objective "dpo" { beta = 0.1 },
  optimizer = d.adamw { lr = 1e-5 },
  batch = { rows = 2 },
  steps = 4,
}
