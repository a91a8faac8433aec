-- expect 6: unknown_plugin.lua:7: no plugin 'dppo', did you mean 'dpo'? (looked in {PLUGINS}; --plugin-dir adds a folder)
local d = require "dowel"
return d.recipe {
  name = "t",
  model = d.model { path = "../files/model" },
  data = d.pairs { "../files/pairs.jsonl" },
  objective = d.objective "dppo" {},
  optimizer = d.adamw { lr = 1e-5 },
  batch = { rows = 2 },
  steps = 4,
}
