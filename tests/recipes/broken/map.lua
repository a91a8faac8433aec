-- expect 3: map.lua:6: map: expected a function of the row, got a string
local d = require "dowel"
return d.recipe {
  name = "t",
  model = d.model { path = "../files/model" },
  data = d.texts { "../files/texts.jsonl", map = "messages" },
  objective = d.objective "sft" {},
  optimizer = d.adamw { lr = 1e-3 },
  steps = 1,
}
