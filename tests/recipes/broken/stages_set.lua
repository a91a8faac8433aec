-- expect 3: --set dqo.steps=3: no stage 'dqo' in this recipe, did you mean 'dpo'?; write --set STAGE.KEY=VALUE
-- set: dqo.steps=3
local d = require "dowel"
return d.stages { { "dpo", d.recipe { model = d.model { path = "../files/model" },
  data = d.pairs { "../files/pairs.jsonl" }, objective = d.objective "dpo" {},
  optimizer = d.adamw { lr = 1e-5 }, steps = 4 } } }
