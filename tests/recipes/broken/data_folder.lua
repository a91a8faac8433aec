-- expect 3: data_folder.lua:6: ../files: the folder has no train.jsonl (or .json, .csv, .tsv, each also with .gz or .zst)
local d = require "dowel"
return d.recipe {
  name = "t",
  model = d.model { path = "../files/model" },
  data = d.pairs { "../files" },
  objective = d.objective "dpo" { beta = 0.1 },
  optimizer = d.adamw { lr = 1e-5 },
  batch = { rows = 2 },
  steps = 4,
}
