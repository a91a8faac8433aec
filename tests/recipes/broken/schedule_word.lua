-- expect 3: schedule_word.lua:8: dowel has no word 'cosin', did you mean 'cosine'?
local d = require "dowel"
return d.recipe {
  name = "t",
  model = d.model { path = "../files/model" },
  data = d.pairs { "../files/pairs.jsonl" },
  objective = d.objective "dpo" { beta = 0.1 },
  optimizer = d.adamw { lr = d.cosin { peak = 1 } },
  batch = { rows = 2 },
  steps = 4,
}
