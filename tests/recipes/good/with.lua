-- A recipe made from another one.
-- (the plan is dpo.lua's with five values changed)
local d = require "dowel"
local base = require "dpo"

return base:with {
  ["steps"] = 3,
  ["batch.rows"] = 1,
  ["tasks.main.objectives.dpo.options.beta"] = 0.3,
  ["optimizer"] = d.sgd { lr = d.linear { from = 1, to = 0 } },
  ["tasks.main.data"] = d.pairs { "../files/pairs.jsonl", split_marker = "?" },
}
