-- SFT, DPO and GRPO in every step, each on its own data.
-- First: examples/smollm2/prepare.sh puts model and data in place.
local d = require "dowel"

local chat = "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
  .. "<|im_start|>user\n{Body} {Question} Answer with a number.<|im_end|>\n<|im_start|>assistant\n"

local function pairs_in(file)
  return d.pairs { file, split_marker = "\n\nAssistant:", max_tokens = 384, on_long = "cut_prompt" }
end
-- A demonstration of the wanted form: the equation, then the number.
local function worked(file)
  return d.completions { file, prompt = chat, completion = "{Equation} = {Answer}" }
end

return d.recipe {
  name = "mixed",
  seed = 17,
  model = d.model { path = "model", adapter = d.lora { rank = 16, alpha = 32 } },
  tasks = {
    demos = {
      data = worked("data/svamp_train.jsonl"),
      objective = d.objective "sft" {},
      batch = { rows = 8 },
      eval = { data = worked("data/svamp_heldout.jsonl"), every = 60 },
    },
    prefs = {
      data = pairs_in("data/hh_train.jsonl"),
      objective = d.objective "dpo" { beta = 0.1 },
      batch = { rows = 4 },
      eval = { data = pairs_in("data/hh_heldout.jsonl"), every = 60, metric = "rewards/accuracies" },
    },
    sums = {
      data = d.prompts { "data/svamp_train.jsonl", prompt = chat },
      rollout = { samples = 8, temperature = 1.0, max_tokens = 48 },
      reward = d.reward "match" { pattern = "(-?[0-9][0-9,]*[.]?[0-9]*)", field = "Answer" },
      objective = d.objective "grpo" { clip = 0.2 },
      batch = { rows = 4 },
      eval = { data = d.prompts { "data/svamp_heldout.jsonl", prompt = chat }, every = 60, metric = "reward" },
    },
  },
  schedule = { { steps = 60, demos = 1.0, prefs = 1.0, sums = 1.0 } },
  optimizer = d.adamw { lr = d.cosine { peak = 1e-4, final = 1e-5, warmup = 5 } },
}
