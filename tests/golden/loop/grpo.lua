-- Two steps on sampled answers; some have only one of two scores.
local d = require "dowel"
return d.recipe {
  name = "grpo", seed = 5, model = d.model { path = "model" },
  data = d.prompts { "rows.jsonl", prompt = "{question}\n", shuffle = false },
  rollout = { samples = 6, temperature = 0.9, max_tokens = 8 },
  reward = d.mix {
    length = { 1.0, d.scorer(function(s) return #s.completion % 5 end) },
    ended = { 0.5, d.scorer(function(s) if s.stop ~= "length" then return #s.completion % 3 end end) },
  },
  objective = d.objective "grpo" { kl = 0.3, kl_estimator = "k3", normalizer = "sequence" },
  batch = { rows = 3 },
  optimizer = d.sgd { lr = 0.02, clip = 0 },
  steps = 2, micro_tokens = 40, save_dtype = "float32",
}
