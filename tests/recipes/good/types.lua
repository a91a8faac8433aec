local d = require "dowel"

return d.recipe {
  name = "types",
  model = d.model { path = "../files/model" },
  data = d.completions { "../files/texts.jsonl", prompt = "text", completion = "text", teacher_prompt = "Hint: {text}",
    weight = function(row) return #row.text end },
  objective = d.objective "sft" {},
  optimizer = d.adamw { lr = 1e-3 },
  steps = 1,
}
