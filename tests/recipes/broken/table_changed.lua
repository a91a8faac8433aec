-- expect 3: table_changed.lua: recipe has no key 'optimiser', did you mean 'optimizer'?
local d = require "dowel"
local r = { data = d.pairs { "../files/pairs.jsonl" }, objective = d.objective "dpo" {}, steps = 4 }
r.model = d.model { path = "../files/model" }
r.optimiser = d.adamw { lr = 1e-5 }
return d.recipe(r)
