-- Rewards of three kinds, a column in Lua, an evaluation.
local d = require "dowel"

local function ask(row) return "Q: " .. row.prompt .. "\nA: " end
local function shows_work(s) return s.completion:find("\n", 1, true) and 1 or 0 end

return d.recipe {
  name = "grpo",
  seed = 3,
  model = d.model { path = "../files/model" },
  data = d.prompts { "../files/prompts.jsonl", prompt = ask },
  rollout = { samples = 4, max_tokens = 32, stop = "\n\n" },
  reward = d.mix {
    correct = { 1.0, d.reward "match" { field = "answer" } },
    brief = { 0.1, d.reward "brevity" { budget = 40 } },
    steps = { -0.5, d.scorer(shows_work) },
  },
  objective = d.objective "grpo" { clip = 0.1, kl = 0.02 },
  optimizer = d.adamw { lr = 1e-6, weight_decay = 0.01 },
  batch = { rows = 2 },
  steps = 4,
  eval = { data = d.prompts { "../files/prompts.jsonl", prompt = ask }, every = 2, patience = 3 },
}
