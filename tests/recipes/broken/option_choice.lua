-- expect 3: option_choice.lua:7: dpo: loss: no choice 'sigmod', did you mean 'sigmoid'?, expected one of 'sigmoid', 'cdpo'
local d = require "dowel"
return d.recipe {
  name = "t",
  model = d.model { path = "../files/model" },
  data = d.pairs { "../files/pairs.jsonl" },
  objective = d.objective "dpo" { loss = "sigmod" },
  optimizer = d.adamw { lr = 1e-5 },
  batch = { rows = 2 },
  steps = 4,
}
