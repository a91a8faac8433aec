-- Weights from a function, a combination, a constraint and a limit.
local d = require "dowel"
local function task()
  return { data = d.pairs { "../files/pairs.jsonl" }, objective = d.objective "dpo" {} }
end
return d.recipe {
  model = d.model { path = "../files/model" },
  tasks = { a = task(), b = task() },
  schedule = { { steps = 4, a = 1, b = function(step, past) return (past["a/loss"] or 1) / 2 end } },
  optimizer = d.adamw { lr = 1e-5 },
  combine = d.cagrad { c = 0.5 },
  gradients_every = 2,
  constraints = {
    margin = d.constraint { metric = "a/rewards/margins", at_least = 0.5, task = "a" },
    close = d.constraint { metric = "b/loss", at_most = 0.6, option = "b.objectives.dpo.beta", max = 9 },
  },
  limits = { far = d.limit { metric = "b/loss", at_most = 2, action = "slow" } },
}
