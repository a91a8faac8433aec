-- expect 3: schedule_key.lua:9: d.cosine has no key 'peek', did you mean 'peak'?
local d = require "dowel"
return d.recipe {
  name = "t",
  model = d.model { path = "../files/model" },
  data = d.pairs { "../files/pairs.jsonl" },
  objective = d.objective "dpo" { beta = 0.1 },
  optimizer = d.adamw { lr = d.cosine {
    peek = 1 } },
  batch = { rows = 2 },
  steps = 4,
}
