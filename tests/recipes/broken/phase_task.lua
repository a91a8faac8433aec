-- expect 3: phase_task.lua:13: no task 'pref' in this recipe, did you mean 'prefs'?
local d = require "dowel"
local prefs = {
  data = d.pairs { "../files/pairs.jsonl" },
  objective = d.objective "dpo" {},
  
}
return d.recipe {
  model = d.model { path = "../files/model" },
  tasks = { prefs = prefs },
  schedule = {
    { steps = 2, prefs = 1 },
    { steps = 2, pref = 1 },
  },
  optimizer = d.adamw { lr = 1e-5 },
}
