-- GRPO on word problems: the last number of the answer against the row's.
-- First: examples/smollm2/prepare.sh puts model and data in place.
local d = require "dowel"

local chat = "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
  .. "<|im_start|>user\n{Body} {Question} Answer with a number.<|im_end|>\n<|im_start|>assistant\n"

return d.recipe {
  name = "svamp-grpo",
  seed = 17,
  model = d.model { path = "model", adapter = d.lora { rank = 16, alpha = 32 } },
  data = d.prompts { "data/svamp_train.jsonl", prompt = chat },
  rollout = { samples = 8, temperature = 1.0, max_tokens = 64 },
  reward = d.reward "match" { pattern = "(-?[0-9][0-9,]*[.]?[0-9]*)", field = "Answer" },
  objective = d.objective "grpo" { clip = 0.2 },
  optimizer = d.adamw { lr = d.cosine { peak = 1e-4, final = 1e-5, warmup = 5 } },
  batch = { rows = 8 },
  steps = 60,
  eval = { data = d.prompts { "data/svamp_heldout.jsonl", prompt = chat }, every = 60, metric = "reward", samples = 1 },
}
