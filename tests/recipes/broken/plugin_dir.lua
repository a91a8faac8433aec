-- expect 3: plugin_dir.lua:11: no plugin folder 'no_plugins' (looked in {DIR})
local d = require "dowel"
return d.recipe {
  name = "t",
  model = d.model { path = "../files/model" },
  data = d.pairs { "../files/pairs.jsonl" },
  objective = d.objective "dpo" { beta = 0.1 },
  optimizer = d.adamw { lr = 1e-5 },
  batch = { rows = 2 },
  steps = 4,
  plugin_dirs = { "no_plugins" },
}
