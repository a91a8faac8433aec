-- expect 3: cagrad_radius.lua:6: combine.c: expected a number from 0 to 0.999999, got 2
local d = require "dowel"
return d.recipe {
  model = d.model { path = "../files/model" }, data = d.pairs { "../files/pairs.jsonl" },
  objective = d.objective "dpo" {}, optimizer = d.adamw { lr = 1e-5 }, steps = 4,
  combine = d.cagrad { c = 2 },
}
