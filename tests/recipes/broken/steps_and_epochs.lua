-- expect 3: steps_and_epochs.lua:11: recipe takes one of 'steps', 'epochs' and 'schedule', not several
local d = require "dowel"
return d.recipe {
  name = "t",
  model = d.model { path = "../files/model" },
  data = d.pairs { "../files/pairs.jsonl" },
  objective = d.objective "dpo" { beta = 0.1 },
  optimizer = d.adamw { lr = 1e-5 },
  batch = { rows = 2 },
  steps = 4,
  epochs = 2,
}
