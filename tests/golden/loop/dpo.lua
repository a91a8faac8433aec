-- Three steps of clipped SGD on cdpo with a rising beta.
local d = require "dowel"
return d.recipe {
  name = "dpo", seed = 5, model = d.model { path = "model" },
  data = d.pairs { "rows.jsonl", prompt = "{question}\n", chosen = "good", rejected = "bad", shuffle = false },
  objective = d.objective "dpo" { loss = "cdpo", label_smoothing = 0.1, beta = d.linear { from = 0.1, to = 0.4 } },
  batch = { rows = 4 },
  optimizer = d.sgd { lr = 0.05, clip = 1.0, weight_decay = 0.01 },
  steps = 3, micro_tokens = 48, save_dtype = "float32",
}
