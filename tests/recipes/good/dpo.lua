-- One task, every default.
local d = require "dowel"

return d.recipe {
  model = d.model { path = "../files/model", adapter = d.lora { rank = 4 }, storage = "bfloat16" },
  data = d.pairs { "../files/pairs.jsonl" },
  objective = d.objective "dpo" { beta = d.linear { from = 0.05, to = 0.2 } },
  optimizer = d.adamw { lr = d.cosine { peak = 1e-4, warmup = 3 } },
  steps = 12,
}
