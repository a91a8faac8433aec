-- expect 3: save_dtype.lua:11: save_dtype: expected one of 'source', 'float32', 'bfloat16', 'float16', got 'fp16'
local d = require "dowel"
return d.recipe {
  name = "t",
  model = d.model { path = "../files/model" },
  data = d.pairs { "../files/pairs.jsonl" },
  objective = d.objective "dpo" { beta = 0.1 },
  optimizer = d.adamw { lr = 1e-5 },
  batch = { rows = 2 },
  steps = 4,
  save_dtype = "fp16",
}
