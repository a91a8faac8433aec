-- Three tasks, two phases, a module beside the recipe, tables in variables.
local d = require "dowel"
local prefs = require "modules.prefs"

local demos = {
  data = d.completions { "../files/prompts.jsonl", completion = "answer" },
  objectives = { nll = { 0.5, d.objective "sft" {} } },
  batch = { rows = 2 },
}
local sums = {
  data = d.prompts { "../files/prompts.jsonl" },
  rollout = { samples = 2 },
  reward = d.reward "match" { field = "answer" },
  objective = d.objective "grpo" {},
  estimator = d.estimator "grpo" { scale_rewards = "none" },
}

return d.recipe {
  model = d.model { path = "../files/model", adapter = d.lora { rank = 2, targets = { "q", "v" } } },
  tasks = { demos = demos, prefs = prefs, sums = sums },
  schedule = {
    { steps = 2, demos = 1.0 },
    { steps = 6, demos = 0.2, prefs = d.linear { from = 0, to = 1 }, sums = 0.4 },
  },
  optimizer = d.adamw { lr = d.constant { value = 1e-5, warmup = 2 } },
  save_every = 4,
  save_merged = true,
}
