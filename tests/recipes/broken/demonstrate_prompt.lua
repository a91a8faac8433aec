-- expect 3: demonstrate_prompt.lua:6: rollout.demonstrate has no key 'promt', did you mean 'prompt'?
local d = require "dowel"
return d.recipe {
  model = d.model { path = "../files/model" },
  data = d.prompts { "../files/prompts.jsonl" },
  rollout = { demonstrate = { promt = "{prompt} {demonstration}" } },
  reward = d.reward "brevity" {},
  objective = d.objective "self_distill" {},
  optimizer = d.adamw { lr = 1e-5 },
  steps = 4,
}
