-- The model as its own teacher: it reads a good answer of the same group.
local d = require "dowel"
return d.recipe {
  model = d.model { path = "../files/model" },
  data = d.prompts { "../files/prompts.jsonl" },
  teacher = "ema",
  rollout = { samples = 2, max_tokens = 8, demonstrate = {
    prompt = function(row) return row.prompt .. "\nAn answer: " .. row.demonstration .. "\n" end,
    part = "brief", at_least = 0.5,
  } },
  reward = d.mix { brief = { 1.0, d.reward "brevity" {} } },
  objectives = {
    policy = { 0.5, d.objective "grpo" {} },
    demo = { 0.5, d.objective "self_distill" { mode = "sampled_token" } },
  },
  optimizer = d.adamw { lr = 1e-5 },
  steps = 4,
}
