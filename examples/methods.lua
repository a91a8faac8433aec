-- Four ways to teach the same manners, from the same start: answer warmly. DPO and SimPO see pairs, KTO single
-- answers with a label, GRPO only a rule that scores what the model says. Each stage also carries the task
-- "warm" with an eval, which measures all of them by the same rule on the same questions:
--   dowel run methods.lua
-- What to look at: eval_reward of the task "warm" before and after, in every stage.
local d = require "dowel"

local turn = "<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"

local function pairs_of(file)
  return d.pairs { file, prompt = turn, chosen = "{chosen}", rejected = "{rejected}" }
end
local function labels_of(file)
  return d.labels { file, prompt = turn, completion = "{answer}", label = "liked" }
end
local function questions(file)
  return d.prompts { file, prompt = turn }
end

-- One point for an answer that greets first and then says something.
local function greets(s)
  return s.completion:find("^Good question! %u") and 1 or s.completion:find("^Happy to help! %u") and 1 or 0
end

local function warm()
  return {
    data = questions("data/preferences.jsonl"),
    rollout = { samples = 8, temperature = 1.0, max_tokens = 32 },
    reward = d.scorer(greets),
    objective = d.objective "grpo" {},
    batch = { rows = 8 },
    eval = { data = questions("data/preferences_heldout.jsonl"), every = 60, samples = 4 },
  }
end

local function learn(tasks, weights)
  weights.steps = 60
  tasks.warm = warm()
  return d.recipe {
    seed = 17,
    model = d.model { path = "model" },
    tasks = tasks,
    schedule = { weights },
    optimizer = d.adamw { lr = d.cosine { peak = 1e-4, final = 1e-5, warmup = 5 } },
  }
end

local function by(objective, data)
  return learn({ given = { data = data, objective = objective, batch = { rows = 8 } } }, { given = 1.0 })
end

return d.stages {
  { "dpo", by(d.objective "dpo" { beta = 0.1 }, pairs_of("data/preferences.jsonl")) },
  { "simpo", by(d.objective "simpo" { beta = 2.0, gamma = 0.5 }, pairs_of("data/preferences.jsonl")) },
  { "kto", by(d.objective "kto" { beta = 0.1 }, labels_of("data/labels.jsonl")) },
  { "grpo", learn({}, { warm = 1.0 }) },
}
