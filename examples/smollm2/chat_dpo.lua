-- DPO with LoRA on conversations: prompt, chosen and rejected are messages, written with the model's own
-- chat template, and the model is the GGUF file as it was downloaded.
-- First: sh examples/smollm2/prepare.sh SmolLM2-135M-Instruct.Q4_1.gguf HH_RLHF_JSONL SVAMP_JSON
-- Then:  dowel run examples/smollm2/chat_dpo.lua --out runs/chat-dpo
--        dowel generate runs/chat-dpo/final        (on a terminal: a chat)
local d = require "dowel"

local function talks_in(file, rows)
  return d.pairs { file, max_tokens = 256, max_rows = rows }
end

return d.recipe {
  name = "hh-chat-dpo",
  seed = 17,
  model = d.model { path = "model.gguf", adapter = d.lora { rank = 16, alpha = 32 } },
  data = talks_in("data/hh_chat_train.jsonl"),
  objective = d.objective "dpo" { beta = 0.1 },
  optimizer = d.adamw { lr = d.cosine { peak = 2e-4, final = 2e-5, warmup = 5 } },
  batch = { rows = 4 },
  steps = 150,
  eval = { data = talks_in("data/hh_chat_heldout.jsonl", 100), every = 150, metric = "rewards/accuracies" },
}
