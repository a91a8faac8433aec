-- Demonstrations: the model learns to answer as the rows do.
local d = require "dowel"

local turn = "<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"

return d.recipe {
  name = "sft",
  seed = 17,
  model = d.model { path = "model" },
  data = d.completions { "data/demonstrations.jsonl", prompt = turn, completion = "answer" },
  objective = d.objective "sft" {},
  optimizer = d.adamw { lr = d.cosine { peak = 3e-4, final = 3e-5, warmup = 5 } },
  batch = { rows = 4 },
  epochs = 20,
  eval = {
    data = d.completions { "data/demonstrations_heldout.jsonl", prompt = turn, completion = "answer" },
    every = 10,
  },
}
