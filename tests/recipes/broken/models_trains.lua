-- expect 3: models_trains.lua:7: model old.trains: no task trains this model: none names it as its model or critic
local d = require "dowel"
return d.recipe {
  name = "t",
  model = d.model { path = "../files/model" },
  models = {
    old = d.model { path = "../files/model", trains = true },
  },
  reference = "old",
  data = d.pairs { "../files/pairs.jsonl" },
  objective = d.objective "dpo" { beta = 0.1 },
  optimizer = d.adamw { lr = 1e-5 },
  steps = 4,
}
