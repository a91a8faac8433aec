-- expect 3: lora_rank.lua:6: lora.rank: expected a whole number from 1 to 4096, got 0
local d = require "dowel"
return d.recipe {
  name = "t",
  model = d.model { path = "../files/model", adapter = d.lora {
    rank = 0 } },
  data = d.pairs { "../files/pairs.jsonl" },
  objective = d.objective "dpo" { beta = 0.1 },
  optimizer = d.adamw { lr = 1e-5 },
  batch = { rows = 2 },
  steps = 4,
}
