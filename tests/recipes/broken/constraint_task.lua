-- expect 3: constraint_task.lua:8: task: no task 'mian' in this recipe, did you mean 'main'?
local d = require "dowel"
return d.recipe {
  model = d.model { path = "../files/model" },
  data = d.pairs { "../files/pairs.jsonl" },
  objective = d.objective "dpo" {}, optimizer = d.adamw { lr = 1e-5 }, steps = 4,
  constraints = {
    safe = d.constraint { metric = "loss", at_most = 1, task = "mian" },
  },
}
