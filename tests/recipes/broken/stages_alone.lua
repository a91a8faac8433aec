-- expect 3: stages_alone.lua:4: 'stage:sft/final' is the result of a stage, and this recipe is not one of d.stages
local d = require "dowel"
return d.recipe {
  model = d.model { path = d.stage "sft" },
  data = d.pairs { "../files/pairs.jsonl" }, objective = d.objective "dpo" {},
  optimizer = d.adamw { lr = 1e-5 }, steps = 4,
}
