-- The words of a recipe: `local d = require "dowel"`. A word checks its own keys and remembers where
-- it was written; d.recipe puts the whole together (dowel/normal.lua) and the program checks types,
-- ranges and references (core/train/plan.c).
local host = ...
local node = host.load("node")
local recipe = host.load("recipe")
local type, format, setmetatable = type, string.format, setmetatable

local d = {}

-- Words keep a copy, so that one table of settings may serve several of them.
local function copy(t)
  local out = {}
  for k, v in next, t do out[k] = v end
  return out
end

-- A word that takes one table with these keys.
local function word(name, kind, keys, positions)
  d[name] = function(t)
    if type(t) ~= "table" then
      node.refuse(node.made({}, kind, name), nil, "d.%s: expected a table { ... }, got %s", name,
        node.describe(t))
    end
    t = node.made(copy(t), kind, name)
    node.keys(t, "d." .. name, keys, positions)
    return t
  end
end

word("model", "model", { "path", "adapter", "init", "freeze", "trains", "optimizer", "eos_token", "storage" })
word("lora", "lora", { "rank", "alpha", "targets", "rslora" })

local data_keys = { "split_marker", "add_eos", "add_bos", "max_tokens", "max_rows", "on_bad_row",
  "on_long", "shuffle", "template", "layout", "role_key", "content_key", "loss_on", "split", "holdout",
  "held", "duplicates", "overlap", "map" }
for name, columns in pairs(host.columns()) do
  local keys = {}
  for _, c in ipairs(columns) do keys[#keys + 1] = c.name end
  for _, k in ipairs(data_keys) do keys[#keys + 1] = k end
  if name == "steps" then keys[#keys + 1] = "separator" end
  word(name, "data", keys, true)
  recipe.columns[name] = columns
end

-- Several sources of one type with weights: d.mixture { { 0.7, d.pairs { ... } }, { 0.3, d.pairs { ... } } }
function d.mixture(t)
  if type(t) ~= "table" then
    node.refuse(node.made({}, "data", "mixture"), nil, "d.mixture: expected a table { ... }, got %s",
      node.describe(t))
  end
  return recipe.mixture(node.made(copy(t), "mixture", "mixture"))
end

word("adamw", "optimizer", { "lr", "betas", "eps", "weight_decay", "clip" })
word("sgd", "optimizer", { "lr", "momentum", "weight_decay", "clip" })

local function schedule(name, keys)
  word(name, "schedule", keys)
  local plain = d[name]
  d[name] = function(t)
    if name == "constant" and type(t) == "number" then t = { value = t } end
    t = plain(t)
    t.schedule = name
    return t
  end
end
schedule("constant", { "value", "warmup" })
schedule("linear", { "from", "to", "warmup" })
schedule("cosine", { "peak", "final", "warmup" })

-- How the gradients of several objectives become one; without it they are added.
word("balance", "combine", { "decay" })
word("pcgrad", "combine", {})
word("mgda", "combine", { "normalize" })
word("cagrad", "combine", { "c" })
-- A metric kept within a bound by a multiplier: of a task's weight, or as a plugin's option.
word("constraint", "constraint", { "metric", "at_most", "at_least", "task", "option", "kind", "lr",
  "start", "max", "window", "kp", "ki", "kd" })
-- A metric that ends or slows the run when it is beyond a bound.
word("limit", "limit", { "metric", "at_most", "at_least", "action", "factor", "window" })

-- Plugins by id: d.objective "dpo" { beta = 0.1 }. Which options there are is the plugin's to say.
local plugin_of = recipe.plugin_of
for _, kind in ipairs { "objective", "estimator", "reward" } do
  d[kind] = function(id)
    if type(id) ~= "string" then
      node.refuse(node.made({}, kind, kind), nil, "d.%s: expected a plugin's id, got %s", kind,
        node.describe(id))
    end
    return function(options)
      options = options or {}
      if type(options) ~= "table" then
        node.refuse(node.made({}, kind, kind), nil, 'd.%s "%s": expected a table of options, got %s',
          kind, id, node.describe(options))
      end
      options = node.made(copy(options), kind, kind)
      plugin_of[options] = id
      return options
    end
  end
end

-- A reward in Lua: a function of one sample that gives a number, or nil for no opinion.
function d.scorer(fn)
  local t = node.made({ fn = fn }, "scorer", "scorer", { "fn" })
  if type(fn) ~= "function" then
    node.refuse(t, nil, "d.scorer: expected a function of a sample, got %s", node.describe(fn))
  end
  return t
end

local scored_keys = { "signed", "separator", "steps", "implicit" }

-- A reward that is a model's own number: d.scored_by "rm", with models = { rm = d.model { ... } }.
-- Of a token model, which scores steps: d.scored_by("rm", { separator = "\n\n", steps = "min" }).
function d.scored_by(name, how)
  local t = node.made({ model = name }, "scored", "scored_by", { "model", table.unpack(scored_keys) })
  if how ~= nil and type(how) ~= "table" then
    node.refuse(t, nil, "d.scored_by: expected a table of options after the model's name, got %s",
      node.describe(how))
  end
  for k, v in pairs(how or {}) do
    t[k] = v
  end
  node.keys(t, "d.scored_by", { "model", table.unpack(scored_keys) })
  if type(name) ~= "string" or name == "" then
    node.refuse(t, nil, "d.scored_by: expected the name of a model in models = { ... }, got %s",
      name == "" and "an empty string" or node.describe(name))
  end
  return t
end

-- Rewards with names and weights: d.mix { correct = { 1.0, d.reward "match" {...} }, ... }
function d.mix(t)
  if type(t) ~= "table" then
    node.refuse(node.made({}, "mix", "mix"), nil, "d.mix: expected a table { ... }, got %s",
      node.describe(t))
  end
  return node.made(copy(t), "mix", "mix")
end

-- The result of an earlier stage, where a model's path is expected: d.stage "sft", or another folder
-- of its run: d.stage("sft", "best").
function d.stage(name, folder)
  local t = node.made({}, "stage", "stage")
  if type(name) ~= "string" or name == "" or string.find(name, "/", 1, true) then
    node.refuse(t, nil, "d.stage: expected a stage's name, got %s",
      type(name) == "string" and "'" .. name .. "'" or node.describe(name))
  end
  if folder ~= nil and (type(folder) ~= "string" or not string.find(folder, "^[%w_-][%w_.-]*$")) then
    node.refuse(t, nil, "d.stage: expected a folder of the stage's run (\"best\"), got %s",
      node.describe(folder))
  end
  t.path = format("stage:%s/%s", name, folder or "final")
  return t
end

-- Recipes that run one after the other: d.stages { { "sft", d.recipe { ... } }, ... }
function d.stages(t)
  if type(t) ~= "table" then
    node.refuse(node.made({}, "stages", "stages"), nil, "d.stages: expected a list { ... }, got %s",
      node.describe(t))
  end
  return recipe.stages(node.made(copy(t), "stages", "stages"))
end

function d.recipe(t)
  if type(t) ~= "table" then
    node.refuse(node.made({}, "recipe", "recipe"), nil, "d.recipe: expected a table { ... }, got %s",
      node.describe(t))
  end
  return recipe.create(node.made(copy(t), "recipe", "recipe"))
end

local names = {}
for k in pairs(d) do names[#names + 1] = k end
return setmetatable(d, {
  __index = function(_, k)
    local t = node.made({}, "word", "dowel")
    node.refuse(t, nil, "dowel has no word '%s'%s", tostring(k), node.suggest(tostring(k), names))
  end,
})
