-- A function that makes another row of each, also where the rows become conversations.
local d = require "dowel"

return d.recipe {
  name = "map",
  model = d.model { path = "../files/model", storage = "float32" },
  data = d.texts { "../files/texts.jsonl", map = function(row)
    return #row.text > 2 and { messages = { { role = "assistant", content = row.text } } } or nil
  end },
  objective = d.objective "sft" {},
  optimizer = d.adamw { lr = 1e-3 },
  steps = 1,
}
