-- Preferences: of two answers the model learns to favour the chosen one. Only an adapter is trained; the
-- reference is the same model with the adapter off.
local d = require "dowel"

local turn = "<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"

return d.recipe {
  name = "dpo",
  seed = 17,
  model = d.model { path = "model", adapter = d.lora { rank = 16 } },
  data = d.pairs { "data/preferences.jsonl", prompt = turn },
  objective = d.objective "dpo" { beta = 0.1 },
  optimizer = d.adamw { lr = d.cosine { peak = 1e-3, warmup = 5 } },
  batch = { rows = 16 },
  steps = 60,
  eval = {
    data = d.pairs { "data/preferences_heldout.jsonl", prompt = turn },
    every = 20,
    metric = "rewards/accuracies",
  },
}
