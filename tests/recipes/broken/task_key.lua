-- expect 3: task_key.lua:6: task prefs has no key 'row'
local d = require "dowel"
local prefs = {
  data = d.pairs { "../files/pairs.jsonl" },
  objective = d.objective "dpo" {},
  row = 4,
}
return d.recipe {
  model = d.model { path = "../files/model" },
  tasks = { prefs = prefs },
  steps = 4,
  optimizer = d.adamw { lr = 1e-5 },
}
