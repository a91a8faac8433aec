-- expect 3: name_slash.lua:4: name: 'a/b' holds more than letters, digits, '_', '-' and '.' (it names a folder)
local d = require "dowel"
return d.recipe {
  name = "a/b",
  model = d.model { path = "../files/model" },
  data = d.pairs { "../files/pairs.jsonl" },
  objective = d.objective "dpo" { beta = 0.1 },
  optimizer = d.adamw { lr = 1e-5 },
  batch = { rows = 2 },
  steps = 4,
}
