-- expect 3: option_not_tunable.lua:7: dpo: loss: cannot follow a schedule (it is not tunable); give one value
local d = require "dowel"
return d.recipe {
  name = "t",
  model = d.model { path = "../files/model" },
  data = d.pairs { "../files/pairs.jsonl" },
  objective = d.objective "dpo" { loss = d.linear { from = 1, to = 2 } },
  optimizer = d.adamw { lr = 1e-5 },
  batch = { rows = 2 },
  steps = 4,
}
