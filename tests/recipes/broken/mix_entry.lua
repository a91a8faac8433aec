-- expect 3: mix_entry.lua:9: b: expected { weight, a reward }, got { a string, d.reward }
local d = require "dowel"
return d.recipe {
  model = d.model { path = "../files/model" },
  data = d.prompts { "../files/prompts.jsonl" },
  rollout = { samples = 2, max_tokens = 8 },
  reward = d.mix {
    a = { 1.0, d.reward "brevity" {} },
    b = { "2", d.reward "brevity" {} },
  },
  objective = d.objective "grpo" {},
  optimizer = d.adamw { lr = 1e-5 },
  steps = 4,
}
