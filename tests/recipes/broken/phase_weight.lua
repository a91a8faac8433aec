-- expect 3: phase_weight.lua:12: weight of prefs: expected numbers from 0 up, got -1
local d = require "dowel"
local prefs = {
  data = d.pairs { "../files/pairs.jsonl" },
  objective = d.objective "dpo" {},
  
}
return d.recipe {
  model = d.model { path = "../files/model" },
  tasks = { prefs = prefs },
  schedule = {
    { steps = 2, prefs = -1 },
  },
  optimizer = d.adamw { lr = 1e-5 },
}
