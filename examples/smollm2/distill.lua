-- A teacher that has read demonstrations, and a student that learns from the teacher's distributions over
-- its own answers (GKD): per token, no rewards.
-- First: examples/smollm2/prepare.sh puts model and data in place.
local d = require "dowel"

local lora = d.lora { rank = 16, alpha = 32 }
local turn = "Question: {Body} {Question}\nAnswer:"
local function written(row)
  return " " .. row.Equation .. " = " .. row.Answer .. "\n"
end
local function solved(file, n)
  return d.completions { file, prompt = turn, completion = written, max_rows = n }
end

local teacher = d.recipe {
  seed = 17,
  model = d.model { path = "model", adapter = lora },
  data = solved("data/svamp_train.jsonl", 0),
  objective = d.objective "sft" {},
  optimizer = d.adamw { lr = d.cosine { peak = 3e-4, final = 3e-5, warmup = 5 } },
  batch = { rows = 16 },
  steps = 40,
  save_merged = true,
  eval = { data = solved("data/svamp_heldout.jsonl", 100), every = 40 },
}

local student = d.recipe {
  seed = 18,
  model = d.model { path = "model", adapter = lora },
  models = { teacher = d.model { path = d.stage("teacher", "merged") } },
  data = solved("data/svamp_train.jsonl", 0),
  teacher = "teacher",
  objective = d.objective "gkd" { beta = 0.5 },
  optimizer = d.adamw { lr = d.cosine { peak = 3e-4, final = 3e-5, warmup = 5 } },
  batch = { rows = 16 },
  steps = 30,
  eval = { data = solved("data/svamp_heldout.jsonl", 100), every = 30 },
}

return d.stages { { "teacher", teacher }, { "student", student } }
