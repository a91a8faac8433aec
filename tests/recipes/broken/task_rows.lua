-- expect 3: task_rows.lua:6: batch.rows: expected a whole number from 1 to 65536, got -4
local d = require "dowel"
local prefs = {
  data = d.pairs { "../files/pairs.jsonl" },
  objective = d.objective "dpo" {},
  batch = { rows = -4 },
}
return d.recipe {
  model = d.model { path = "../files/model" },
  tasks = { prefs = prefs },
  steps = 4,
  optimizer = d.adamw { lr = 1e-5 },
}
