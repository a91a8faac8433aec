-- expect 3: limit_action.lua:6: action: expected one of 'stop', 'slow', got 'pause'
local d = require "dowel"
return d.recipe {
  model = d.model { path = "../files/model" }, data = d.pairs { "../files/pairs.jsonl" },
  objective = d.objective "dpo" {}, optimizer = d.adamw { lr = 1e-5 }, steps = 4,
  limits = { kl = d.limit { metric = "kl", at_most = 1, action = "pause" } },
}
