-- expect 3: phase_rest.lua:11: schedule[1]: no task has a weight above 0 in this phase
local d = require "dowel"
local prefs = {
  data = d.pairs { "../files/pairs.jsonl" },
  objective = d.objective "dpo" {},
  
}
return d.recipe {
  model = d.model { path = "../files/model" },
  tasks = { prefs = prefs },
  schedule = { { steps = 2, prefs = 0 } },
  optimizer = d.adamw { lr = 1e-5 },
}
