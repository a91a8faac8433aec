-- expect 3: lora_target.lua:5: lora.targets: no matrix 'qq' (there are q, k, v, o, gate, up, down; qkv, gate_up where they are one)
local d = require "dowel"
return d.recipe {
  name = "t",
  model = d.model { path = "../files/model", adapter = d.lora { rank = 4, targets = { "q", "qq" } } },
  data = d.pairs { "../files/pairs.jsonl" },
  objective = d.objective "dpo" { beta = 0.1 },
  optimizer = d.adamw { lr = 1e-5 },
  batch = { rows = 2 },
  steps = 4,
}
