-- The base model of the examples, from random weights: reads a small world of questions and answers.
-- Run again with:  lua5.4 examples/make/data.lua && dowel run examples/make/pretrain.lua --out runs/base
local d = require "dowel"

return d.recipe {
  name = "example-base",
  seed = 7,
  model = d.model { path = "model", init = true },
  data = d.texts {
    "../data/pretrain.jsonl",
    text = "<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n{answer}",
  },
  objective = d.objective "sft" {},
  optimizer = d.adamw { lr = d.cosine { peak = 3e-3, final = 1e-4, warmup = 50 }, weight_decay = 0.01 },
  batch = { rows = 64 },
  steps = 900,
  save_dtype = "bfloat16",
}
