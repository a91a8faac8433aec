-- expect 3: storage.lua:5: model.storage: expected one of 'source', 'float32', 'bfloat16', got 'bf16'
local d = require "dowel"
return d.recipe {
  name = "t",
  model = d.model { path = "../files/model", storage = "bf16" },
  data = d.texts { "../files/texts.jsonl" },
  objective = d.objective "sft" {},
  optimizer = d.adamw { lr = 1e-3 },
  steps = 1,
}
