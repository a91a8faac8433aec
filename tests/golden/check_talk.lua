-- Whole runs on conversations, with the model of examples/: lua5.4 check_talk.lua DOWEL EXAMPLES
local dowel, examples = arg[1], arg[2]
if dowel:sub(1, 1) ~= "/" then dowel = io.popen("pwd"):read("l") .. "/" .. dowel end
local dir = os.tmpname()
os.remove(dir)
os.execute("mkdir -p " .. dir)

local function slurp(path)
  local f = io.open(path, "rb")
  if not f then return nil end
  local text = f:read("a")
  f:close()
  return text
end

local function write(path, text)
  local f = assert(io.open(path, "wb"))
  f:write(text)
  f:close()
end

local n, bad = 0, 0
local function ok(pass, what, why)
  n = n + 1
  if not pass then bad = bad + 1 end
  print((pass and "ok " or "not ok ") .. n .. " - " .. what)
  if not pass then print("# " .. tostring(why):gsub("\n", "\n# ")) end
end

-- The exit code, and everything that was printed.
local function run(args)
  local _, _, code = os.execute(("cd %s && '%s' %s >out 2>&1"):format(dir, dowel, args))
  return code, slurp(dir .. "/out")
end

local function field(text, key)
  local out = {}
  for v in text:gmatch('"' .. key .. '":(-?[%d.e+-]+)') do out[#out + 1] = v end
  return table.concat(out, " ")
end

-- ---- rows: the same questions as messages and as text ----

local talks, texts, prompts = {}, {}, {}
for line in io.lines(examples .. "/data/sums.jsonl") do
  local question, answer = line:match('"question": ?"(.-)"'), line:match('"answer": ?"?([^",}]+)')
  talks[#talks + 1] = ('{"prompt": [{"role": "user", "content": "%s"}], "completion": [{"role": "assistant", "content": "%s."}]}')
    :format(question, answer)
  texts[#texts + 1] = ('{"question": "%s", "answer": "%s."}'):format(question, answer)
  prompts[#prompts + 1] = ('{"prompt": [{"role": "user", "content": "%s"}], "answer": "%s"}'):format(question, answer)
  if #talks == 24 then break end
end
write(dir .. "/talks.jsonl", table.concat(talks, "\n") .. "\n")
write(dir .. "/texts.jsonl", table.concat(texts, "\n") .. "\n")
write(dir .. "/prompts.jsonl", table.concat(prompts, "\n") .. "\n")

local function recipe(name, model, data, more)
  write(dir .. "/" .. name .. ".lua", ([[
local d = require "dowel"
return d.recipe {
  name = "%s", seed = 3, model = d.model { %s },
  data = %s,
  optimizer = d.adamw { lr = 1e-4 }, batch = { rows = 4 }, steps = 3,
  %s
}
]]):format(name, model, data, more or 'objective = d.objective "sft" {},'))
end

local own = ('path = "%s/model"'):format(examples)
recipe("talks", own, 'd.completions { "talks.jsonl" }')
recipe("texts", own, 'd.completions { "texts.jsonl", prompt = "<|im_start|>user\\n{question}<|im_end|>\\n<|im_start|>assistant\\n", completion = "{answer}" }')
local code, out = run "run talks.lua --dry-run"
ok(code == 0 and out:find("rows        prompt-completion, conversational, template of the model, turns end with <|im_end|>", 1, true),
  "a dry run says what the rows are", out)
run "run talks.lua --quiet --out talks"
run "run texts.lua --quiet --out texts"
local a, b = slurp(dir .. "/talks/metrics.jsonl") or "", slurp(dir .. "/texts/metrics.jsonl") or ""
ok(field(a, "loss") ~= "" and field(a, "loss") == field(b, "loss"),
  "messages train exactly as the text that their template writes", field(a, "loss") .. " | " .. field(b, "loss"))

-- ---- a model that does not stop where the template ends a turn ----

os.execute(("cp -r %s/model %s/base && rm %s/base/chat_template.jinja"):format(examples, dir, dir))
local config = slurp(dir .. "/base/tokenizer_config.json"):gsub('"eos_token": "[^"]+"', '"eos_token": "<|endoftext|>"')
write(dir .. "/base/tokenizer_config.json", config)
write(dir .. "/base/config.json", (slurp(dir .. "/base/config.json"):gsub('"eos_token_id": 2', '"eos_token_id": 0')))
write(dir .. "/base/generation_config.json", '{\n  "eos_token_id": 0,\n  "temperature": 0.7\n}\n')
write(dir .. "/chat.jinja", slurp(examples .. "/model/chat_template.jinja"))

recipe("untold", 'path = "base"', 'd.completions { "talks.jsonl" }')
code, out = run "run untold.lua --quiet --out untold"
ok(code == 4 and out:find('the model has no chat template to write them with: name one in the recipe (template = "chat.jinja")', 1, true),
  "a model without a template is refused", out)
recipe("endless", 'path = "base"', 'd.completions { "talks.jsonl", template = "chat.jinja" }')
code, out = run "run endless.lua --quiet --out endless"
ok(code == 3 and out:find('the chat template ends the assistant\'s turn with <|im_end|> (2), but the model stops at [0]', 1, true)
  and out:find('add eos_token = "<|im_end|>" to the recipe\'s d.model { ... }, or "eos_token_id": [0, 2] to generation_config.json', 1, true),
  "a model that would never end an answer is refused", out)
recipe("told", 'path = "base", eos_token = "<|im_end|>"', 'd.completions { "talks.jsonl", template = "chat.jinja" }')
code, out = run "run told.lua --quiet --out told"
local saved = slurp(dir .. "/told/final/generation_config.json") or ""
ok(code == 0 and saved:find('"eos_token_id": [0, 2]', 1, true) and saved:find('"temperature": 0.7', 1, true),
  "the saved generation_config.json ends answers with the learned token too", out .. saved)
ok(slurp(dir .. "/told/final/chat_template.jinja") == slurp(dir .. "/chat.jinja"), "the recipe's template goes with the model")
saved = slurp(dir .. "/talks/final/generation_config.json")
ok(saved == slurp(examples .. "/model/generation_config.json"), "what names the token already stays as it is", saved)

-- ---- rollouts ----

recipe("grpo", own, 'd.prompts { "prompts.jsonl" }', [[
  rollout = { samples = 4, temperature = 1.0, max_tokens = 24 },
  reward = d.mix {
    right = { 1.0, d.reward "match" { pattern = "([0-9]+)", field = "answer" } },
    clean = { 0.1, d.scorer(function(s)
      assert(not s.completion:find("<|", 1, true), "a special token in the completion")
      assert(s.prompt:find("<|im_start|>assistant\n", 1, true), "no generation prompt")
      assert(s.row.prompt[1].role == "user" and s.row.answer, "the row is not there")
      return s.stop == "eos" and 1 or 0
    end) },
  },
  objective = d.objective "grpo" {},]])
code, out = run "run grpo.lua --quiet --record --out grpo"
local metrics = slurp(dir .. "/grpo/metrics.jsonl") or ""
ok(code == 0 and #field(metrics, "reward") > 0, "rollouts start from messages", out)
local ended = 0
for v in field(metrics, "completions/clipped_ratio"):gmatch("%S+") do if tonumber(v) < 1 then ended = ended + 1 end end
ok(ended == 3, "and answers end where the template ends a turn", metrics)

-- ---- commands ----

write(dir .. "/q.jsonl", '{"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes"}]}\n')
code, out = run(("tokenize %s/model q.jsonl"):format(examples))
ok(code == 0 and out:find('"mask":[0,', 1, true) and out:find(",1,1,0]}", 1, true), "tokenize says what the assistant said", out)
code, out = run(("score %s/model q.jsonl"):format(examples))
ok(code == 0 and out:find('"mask":[0,', 1, true) and out:find('"logps":[null,', 1, true), "score does too", out)
write(dir .. "/q.jsonl", '{"messages": [{"role": "user", "content": "1 + 1 ="}]}\n')
code, out = run(("generate --greedy %s/model q.jsonl"):format(examples))
ok(code == 0 and out:find('"finish":"stop"', 1, true) and not out:find("<|", 1, true), "generate answers messages", out)
code, out = run(("generate %s/base q.jsonl"):format("."))
ok(code == 4 and out:find('"messages\\" need a chat template, and the model has none', 1, true) or out:find('"messages" need a chat template, and the model has none', 1, true),
  "and needs a template for it", out)

os.execute("rm -rf " .. dir)
print("1.." .. n)
os.exit(bad == 0)
