-- expect 3: stages_entry.lua:7: d.stages: expected { "name", d.recipe { ... } }, got { 'a', d.model }
local d = require "dowel"
local one = d.recipe { model = d.model { path = "../files/model" },
  data = d.pairs { "../files/pairs.jsonl" }, objective = d.objective "dpo" {},
  optimizer = d.adamw { lr = 1e-5 }, steps = 4 }
return d.stages {
  { "a", d.model { path = "../files/model" } },
  { "b", one },
}
