-- expect 3: --set tasks.main.objectives.dpo.options.kll=0: tasks.main.objectives.dpo.options has no key 'kll'
-- set: tasks.main.objectives.dpo.options.kll=0
local d = require "dowel"
return d.recipe {
  name = "t",
  model = d.model { path = "../files/model" },
  data = d.pairs { "../files/pairs.jsonl" },
  objective = d.objective "dpo" { beta = 0.1 },
  optimizer = d.adamw { lr = 1e-5 },
  batch = { rows = 2 },
  steps = 4,
}
