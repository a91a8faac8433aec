-- set: batch.rows=2
-- set: name=counted
-- 3 rows, 2.5 epochs, 2 rows a step: ceil(3.75) = 4 steps.
local d = require "dowel"

return d.recipe {
  model = d.model { path = "../files/model", init = true },
  data = d.texts { "../files/pairs.jsonl", text = "{prompt}: {chosen}", max_rows = 100 },
  objective = d.objective "sft" {},
  optimizer = d.sgd { lr = 0.1, momentum = 0.9 },
  epochs = 2.5,
}
