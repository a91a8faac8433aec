local d = require "dowel"

return {
  data = d.pairs { "../files/pairs.jsonl", max_tokens = 64, on_long = "cut_prompt" },
  objective = d.objective "dpo" { loss = "cdpo", label_smoothing = 0.1 },
}
