-- DPO with LoRA on pairs of the HH kind: the prompt stands inside both answers.
-- First: examples/smollm2/prepare.sh puts model and data in place.
local d = require "dowel"

local function pairs_in(file)
  return d.pairs { file, split_marker = "\n\nAssistant:", max_tokens = 512, on_long = "cut_prompt" }
end

return d.recipe {
  name = "hh-dpo",
  seed = 17,
  model = d.model { path = "model", adapter = d.lora { rank = 16, alpha = 32 } },
  data = pairs_in("data/hh_train.jsonl"),
  objective = d.objective "dpo" { beta = 0.1 },
  optimizer = d.adamw { lr = d.cosine { peak = 2e-4, final = 2e-5, warmup = 10 } },
  batch = { rows = 8 },
  steps = 100,
  eval = { data = pairs_in("data/hh_heldout.jsonl"), every = 50, metric = "rewards/accuracies" },
}
