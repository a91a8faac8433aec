-- set: second.steps=3
-- Two stages; the second starts from what the first came to.
local d = require "dowel"
local function one(path)
  return d.recipe {
    model = d.model { path = path },
    data = d.pairs { "../files/pairs.jsonl", prompt = function(row) return row.prompt end },
    objective = d.objective "dpo" {},
    optimizer = d.adamw { lr = 1e-5 },
    steps = 4,
  }
end
return d.stages { { "first", one "../files/model" }, { "second", one(d.stage("first", "best")) } }
