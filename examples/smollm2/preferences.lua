-- Four ways to learn from one set of comparisons, each from the same start and for as many rows.
-- First: examples/smollm2/prepare.sh puts model and data in place.
local d = require "dowel"

local function pairs_in(file, n)
  return d.pairs { file, split_marker = "\n\nAssistant:", max_tokens = 256, on_long = "drop", max_rows = n }
end

local function labels_in(file, n)
  return d.labels { file, max_tokens = 256, on_long = "drop", max_rows = n }
end

local function learn(objective, data, heldout, metric, rate)
  return d.recipe {
    seed = 17,
    model = d.model { path = "model", adapter = d.lora { rank = 16, alpha = 32 } },
    data = data,
    objective = objective,
    optimizer = d.adamw { lr = d.cosine { peak = rate or 2e-4, final = 2e-5, warmup = 5 } },
    batch = { rows = 8 },
    steps = 60,
    eval = { data = heldout, every = 60, metric = metric },
  }
end

local function by_pairs(objective, rate)
  return learn(objective, pairs_in("data/hh_train.jsonl", 0), pairs_in("data/hh_heldout.jsonl", 0),
    "rewards/accuracies", rate)
end

return d.stages {
  { "dpo", by_pairs(d.objective "dpo" { beta = 0.1 }) },
  { "simpo", by_pairs(d.objective "simpo" { beta = 2.0, gamma = 0.5 }) },
  { "orpo", by_pairs(d.objective "orpo" {}) },
  { "kto", learn(d.objective "kto" { beta = 0.1 }, labels_in("data/hh_labels_train.jsonl", 0),
      labels_in("data/hh_labels_heldout.jsonl", 0), "rewards/margins") },
}
