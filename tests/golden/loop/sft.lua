-- Six steps of AdamW: decay, clipping, warm-up and cosine, micro-batches.
local d = require "dowel"
return d.recipe {
  name = "sft", seed = 5, model = d.model { path = "model" },
  data = d.completions { "rows.jsonl", prompt = "{question}\n", completion = "good", shuffle = false },
  objective = d.objective "sft" {},
  batch = { rows = 4 },
  optimizer = d.adamw { lr = d.cosine { peak = 3e-3, final = 1e-4, warmup = 2 }, weight_decay = 0.1, clip = 0.5 },
  steps = 6, micro_tokens = 32, save_dtype = "float32",
}
