-- A process reward model and what it is for: it learns from labelled steps of sums which steps are right;
-- then it scores every step that the policy writes, and GRPO gets the steps' rewards, not only the end's.
--   dowel run process.lua
-- What to look at: the process model's eval_accuracy on steps it has not seen (stage prm), and beside the
-- steps' eval_rewards/steps/mean the share of right results, eval_rewards/result/mean (stage grpo). A model of
-- 0.8 million parameters adds badly, as judge and as policy: here the judge is pleased more than the results
-- improve, which is what such a judge is worth.
local d = require "dowel"

local turn = "<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"

-- The steps as one answer: what the policy is to write.
local function written(row)
  return table.concat(row.steps, "\n") .. "\n"
end
local function demonstrations(file)
  return d.completions { file, prompt = turn, completion = written }
end
local function steps(file)
  return d.steps { file, prompt = turn, steps = "steps", labels = "right" }
end
local function questions(file)
  return d.prompts { file, prompt = turn }
end
local rates = d.cosine { peak = 3e-4, final = 3e-5, warmup = 5 }

local sft = d.recipe {
  seed = 17,
  model = d.model { path = "model" },
  data = demonstrations("data/steps.jsonl"),
  objective = d.objective "sft" {},
  batch = { rows = 16 },
  steps = 60,
  optimizer = d.adamw { lr = rates },
  eval = { data = demonstrations("data/steps_heldout.jsonl"), every = 30 },
}

local prm = d.recipe {
  seed = 17,
  model = d.model { path = "model" },
  data = steps("data/steps.jsonl"),
  objective = d.objective "prm" {},
  batch = { rows = 16 },
  steps = 200,
  optimizer = d.adamw { lr = rates },
  eval = { data = steps("data/steps_heldout.jsonl"), every = 50, metric = "accuracy" },
}

local grpo = d.recipe {
  seed = 17,
  model = d.model { path = d.stage "sft" },
  models = { judge = d.model { path = d.stage "prm" } },
  data = questions("data/steps.jsonl"),
  rollout = { samples = 8, temperature = 1.0, max_tokens = 48 },
  reward = d.mix {
    steps = { 1.0, d.scored_by("judge", { steps = "mean" }) },
    result = { 1.0, d.reward "match" { pattern = "It is ([0-9]+)", field = "answer" } },
  },
  -- delta: a step earns by how much it moves the judge. Plain sums of steps are hacked at once: the policy
  -- learns to stop before the result (try scheme = "group").
  estimator = d.estimator "process" { part = "steps", scheme = "delta", start = 0.5, outcome_weight = 4 },
  objective = d.objective "grpo" { kl = 0.02 },
  batch = { rows = 8 },
  steps = 60,
  optimizer = d.adamw { lr = d.cosine { peak = 1e-4, final = 1e-5, warmup = 5 } },
  eval = { data = questions("data/steps_heldout.jsonl"), every = 30, metric = "rewards/result/mean" },
}

return d.stages { { "sft", sft }, { "prm", prm }, { "grpo", grpo } }
