-- expect 3: combine_word.lua:6: combine: expected d.balance, d.pcgrad, d.mgda or d.cagrad { ... }, got a string
local d = require "dowel"
return d.recipe {
  model = d.model { path = "../files/model" }, data = d.pairs { "../files/pairs.jsonl" },
  objective = d.objective "dpo" {}, optimizer = d.adamw { lr = 1e-5 }, steps = 4,
  combine = "pcgrad",
}
