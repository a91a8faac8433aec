-- expect 3: stages_unknown.lua:4: no stage 'sfd' before 'b', did you mean 'sft'?
local d = require "dowel"
local function one(path)
  return d.recipe { model = d.model { path = path },
    data = d.pairs { "../files/pairs.jsonl" }, objective = d.objective "dpo" {},
    optimizer = d.adamw { lr = 1e-5 }, steps = 4 }
end
return d.stages { { "sft", one("../files/model") }, { "b", one(d.stage "sfd") } }
