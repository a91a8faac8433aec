-- expect 3: trap_t42_adapter_average.lua:6: reference_update: not with an adapter: the average of its two factors is not the average of the adapter; train the model in full
local d = require "dowel"
return d.recipe {
  model = d.model { path = "../files/model", adapter = d.lora { rank = 4 } },
  data = d.pairs { "../files/pairs.jsonl" }, objective = d.objective "dpo" {},
  reference_update = { kind = "mix", alpha = 0.6, every = 2 },
  optimizer = d.adamw { lr = 1e-5 }, steps = 4,
}
