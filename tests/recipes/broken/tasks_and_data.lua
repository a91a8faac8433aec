-- expect 3: tasks_and_data.lua:11: 'data' belongs into a task, since this recipe has 'tasks'
local d = require "dowel"
local prefs = {
  data = d.pairs { "../files/pairs.jsonl" },
  objective = d.objective "dpo" {},
  
}
return d.recipe {
  model = d.model { path = "../files/model" },
  tasks = { prefs = prefs },
  steps = 4, data = d.pairs { "../files/pairs.jsonl" },
  optimizer = d.adamw { lr = 1e-5 },
}
