-- A critic of its own that warms up, a reward model, a teacher that follows slowly.
local d = require "dowel"

return d.recipe {
  model = d.model { path = "../files/model", freeze = { 0, 2 } },
  models = {
    critic = d.model { path = "../files/model", optimizer = d.sgd { lr = 0.1 } },
    rm = d.model { path = "../files/model" },
  },
  critic = "critic",
  teacher = "ema",
  reference_update = { kind = "bema", every = 10 },
  data = d.prompts { "../files/prompts.jsonl" },
  rollout = { samples = 4, max_tokens = 32 },
  reward = d.mix {
    rm = { 1.0, d.scored_by "rm" },
    steps = { 0.5, d.scored_by("rm", { separator = ".", steps = "mean", signed = true }) },
    brief = { 0.1, d.reward "brevity" { budget = 40 } },
  },
  objective = d.objective "grpo" {},
  optimizer = d.adamw { lr = 1e-6 },
  steps = 4,
}
