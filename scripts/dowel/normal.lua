-- From a recipe as it is written to the plan's one form: sugar resolved, paths absolute, functions
-- named. Types and ranges are left to the program; `pos` says where each part of the plan came from.
local host = ...
local node = host.load("node")
local type, find, format, match = type, string.find, string.format, string.match
local null = host.null

local normal = { columns = {}, plugin_of = setmetatable({}, { __mode = "k" }),
  also_of = setmetatable({}, { __mode = "k" }) }

-- A plan being built: tree, pos (dotted path -> {t, key, label}), functions (name -> function).
local function at(plan, path, t, key, label)
  plan.pos[path] = { t = t, key = key, label = label }
end

-- Copies t[key] for every key of the list that is set, and notes where it stands.
local function copy(plan, path, t, keys, what, into)
  for _, k in ipairs(keys) do
    if t[k] ~= nil then into[k] = t[k] end
    at(plan, path .. "." .. k, t, k, what .. "." .. k)
  end
  return into
end

local function want(t, key, v, kind, form, what)
  if node.kind(v) ~= kind then
    node.refuse(t, key, "%s: expected %s, got %s", what, form,
      type(v) == "function" and "a function (a word without its table { })" or node.describe(v))
  end
end

-- A model may also be a name in Hugging Face's cache.
function normal.place(full, given)
  return not host.exists(full) and host.hub(given) or full
end

function normal.path(plan, t, key, v, what, place)
  if node.kind(v) == "stage" then return v.path end
  if type(v) ~= "string" or v == "" then
    node.refuse(t, key, "%s: expected a path, got %s", what,
      v == "" and "an empty string" or node.describe(v))
  end
  local full = host.resolve(v)
  if place then full = place(full, v) end
  plan.origin[full] = v
  return full
end

function normal.lora(plan, path, t)
  local a = copy(plan, path, t, { "rank", "alpha", "targets", "rslora" }, "lora", {})
  if a.targets == "all" then a.targets = nil end
  a.rank = a.rank == nil and 16 or a.rank
  if a.alpha == nil and type(a.rank) == "number" then a.alpha = 2 * a.rank end
  if a.rslora == nil then a.rslora = false end
  if a.targets == nil then a.targets = { "q", "k", "v", "o", "gate", "up", "down" } end
  return a
end

local weighted

-- A range of steps { from, to }, or a list of them.
local function freeze(t)
  local v = t.freeze
  if v == nil then return node.list {} end
  if type(v) ~= "table" then
    node.refuse(t, "freeze", "freeze: expected a range of steps { from, to } or a list of them, got %s",
      node.describe(v))
  end
  if type(v[1]) == "number" then v = { v } end
  local out = node.list {}
  for i, range in ipairs(v) do
    if type(range) ~= "table" or #range ~= 2 then
      node.refuse(t, "freeze", "freeze: expected a range of steps { from, to }, got %s",
        node.describe(range))
    end
    out[i] = { range[1], range[2] }
  end
  return out
end

-- name: of a model in `models`; nil: the recipe's own `model`
function normal.model(plan, path, t, name)
  local what = name and "model " .. name or "model"
  local m = { init = t.init or false, adapter = null, freeze = freeze(t) }
  copy(plan, path, t, { "path", "adapter", "init", "freeze", "trains", "optimizer", "eos_token", "storage" }, what, {})
  m.eos_token = t.eos_token == nil and null or t.eos_token
  m.storage = t.storage
  m.path = normal.path(plan, t, "path", t.path, what .. ".path", normal.place)
  if t.adapter ~= nil then
    want(t, "adapter", t.adapter, "lora", "d.lora { ... }", what .. ".adapter")
    m.adapter = normal.lora(plan, path .. ".adapter", t.adapter)
    at(plan, path .. ".adapter", t.adapter, nil, "lora")
  end
  if not name then
    for _, k in ipairs { "trains", "optimizer" } do
      if t[k] ~= nil then
        node.refuse(t, k, k == "trains" and "the recipe's own model always may train; 'trains' is for models = { ... }"
          or "the recipe's own optimizer moves this model; 'optimizer' is for models = { ... }")
      end
    end
    return m
  end
  m.trains, m.optimizer = t.trains, null
  if t.optimizer ~= nil then
    want(t, "optimizer", t.optimizer, "optimizer", "d.adamw { ... } or d.sgd { ... }",
      what .. ".optimizer")
    m.optimizer = normal.optimizer(plan, path .. ".optimizer", t.optimizer)
    at(plan, path .. ".optimizer", t.optimizer, nil, node.info(t.optimizer).call)
  end
  return m
end

function normal.models(plan, t)
  local out = {}
  if t.models == nil then return out end
  local list = node.table(t, "models", t.models, "models")
  at(plan, "models", t, "models", "models")
  for name, m in pairs(list) do
    if type(name) ~= "string" then
      node.refuse(list, name, "models need names: models = { critic = d.model { ... } }")
    end
    want(list, name, m, "model", "d.model { ... }", "models." .. name)
    at(plan, "models." .. name, m, nil, "model " .. name)
    out[name] = normal.model(plan, "models." .. name, m, name)
  end
  return out
end

-- kind: of a function, "row" gives text and "value" anything
local function column(plan, t, key, v, kind, name)
  if type(v) == "string" then return find(v, "{", 1, true) and { format = v } or { field = v } end
  if type(v) == "function" then
    name = kind .. ":" .. name
    plan.functions[name] = v
    plan.kinds[name] = kind
    return { lua = name }
  end
  node.refuse(t, key, "%s: expected a field's name, a format or a function, got %s", key,
    node.describe(v))
end

-- on_bad_row = { skip = 10 } or { skip = "1%" }: so many bad rows, or such a share, and no more
local function bad_limit(plan, path, t, data)
  at(plan, path .. ".max_bad", t, "on_bad_row", "on_bad_row")
  if type(t.on_bad_row) ~= "table" then return end
  local limit = node.table(t, "on_bad_row", t.on_bad_row, "on_bad_row")
  node.keys(limit, "on_bad_row", { "skip" })
  local n = limit.skip
  local share = type(n) == "string" and match(n, "^(%d+%.?%d*)%%$")
  if share then n = tonumber(share) / 100 end
  if type(n) ~= "number" or n <= 0 or (share and n >= 1) then
    node.refuse(t, "on_bad_row", 'on_bad_row: expected "error", "skip", { skip = 10 } or { skip = "1%%" }')
  end
  data.on_bad_row, data.max_bad = "skip", n
end

-- map = function(row) return { ... } end: another row in its place, or none
local function mapping(plan, path, t, prefix, data)
  data.map = null
  at(plan, path .. ".map", t, "map", "map")
  if t.map == nil then return end
  if type(t.map) ~= "function" then
    node.refuse(t, "map", "map: expected a function of the row, got %s", node.describe(t.map))
  end
  data.map = format("value:%s.map", prefix)
  plan.functions[data.map] = t.map
  plan.kinds[data.map] = "value"
end

-- prefix: of function names, "main" or "main.eval"
function normal.data(plan, path, t, prefix, shuffle)
  local info = node.info(t)
  local kind = info.call
  local data = { type = kind, files = {}, columns = {}, split_marker = null,
    add_eos = kind ~= "steps", add_bos = true, max_tokens = 0, max_rows = 0, on_bad_row = "error",
    on_long = "drop", shuffle = shuffle, template = null, layout = "none", role_key = null,
    content_key = null, loss_on = "assistant", max_bad = 0, holdout = 0, held = false,
    split = find(prefix, ".eval", 1, true) and "valid" or "train", duplicates = "keep",
    overlap = "keep", fraction = 1, also = node.list {} }
  at(plan, path, t, nil, find(prefix, ".", 1, true) and "eval.data" or "data")
  copy(plan, path, t, { "split_marker", "add_eos", "add_bos", "max_tokens", "max_rows",
    "on_bad_row", "on_long", "shuffle", "template", "layout", "role_key", "content_key", "loss_on",
    "split", "holdout", "held", "duplicates", "overlap" }, kind, data)
  bad_limit(plan, path, t, data)
  mapping(plan, path, t, prefix, data)
  if t.template ~= nil then
    data.template = normal.path(plan, t, "template", t.template, kind .. ".template")
  end
  if kind == "steps" then
    data.separator = null
    copy(plan, path, t, { "separator" }, kind, data)
  end
  for i, file in ipairs(t) do
    data.files[i] = normal.path(plan, t, i, file, "d." .. kind)
    at(plan, format("%s.files.%d", path, i - 1), t, i, "d." .. kind)
  end
  if #t == 0 then node.refuse(t, nil, "d.%s needs at least one file", kind) end
  at(plan, path .. ".files", t, 1, "d." .. kind)
  for _, c in ipairs(normal.columns[kind]) do
    local k = c.name
    if t[k] ~= nil then
      data.columns[k] = column(plan, t, k, t[k], c.text and "row" or "value",
        format("%s.%s", prefix, k))
    elseif c.needed and data.layout == "none" and t.messages == nil then
      data.columns[k] = { field = k }
    end
    at(plan, format("%s.columns.%s", path, k), t, k, kind .. "." .. k)
  end
  local more = normal.also_of[t]
  if more then
    data.fraction = more.weight
    for i, other in ipairs(more) do
      local below = format("%s.also.%d", path, i - 1)
      data.also[i] = normal.data(plan, below, other[2], format("%s.%d", prefix, i), shuffle)
      data.also[i].fraction = other[1]
    end
  end
  return data
end

-- A mixture is its first source, which knows the others.
function normal.mixture(t)
  node.keys(t, "d.mixture", {}, true)
  local list = {}
  for i, v in ipairs(t) do
    local weight, source = weighted(t, i, v, { data = true }, "d.pairs { ... } or the like")
    if normal.also_of[source] then
      node.refuse(t, i, "d.mixture: a source is plain data, not another mixture")
    end
    list[i] = { weight, source }
  end
  if #list < 2 then node.refuse(t, nil, "d.mixture needs at least two sources { weight, data }") end
  local first = {}
  for k, v in next, list[1][2] do first[k] = v end
  local call = node.info(list[1][2]).call
  node.made(first, "data", call)
  local more = { weight = list[1][1] }
  for i = 2, #list do
    if node.info(list[i][2]).call ~= call then
      node.refuse(t, i, "d.mixture: every source is d.%s as the first, this one is d.%s", call,
        node.info(list[i][2]).call)
    end
    more[i - 1] = list[i]
  end
  normal.also_of[first] = more
  return first
end

-- The last word of an id or path: "org.example.brevity" -> "brevity", "./x/y.so" -> "y".
local function short(id)
  local base = match(id, "([^/]+)$") or id
  base = match(base, "^(.*)%.so$") or base
  return match(base, "([%w_-]+)$") or base
end

local function use(plan, path, t, weight)
  local id = normal.plugin_of[t]
  if find(id, "/", 1, true) then id = host.resolve(id) end
  local options = {}
  for k, v in pairs(t) do
    options[k] = v
    at(plan, format("%s.options.%s", path, tostring(k)), t, k, nil)
  end
  at(plan, path, t, nil, nil)
  return { plugin = id, options = options, weight = weight }
end

local function reward(plan, path, t, weight, name)
  if node.kind(t) == "scored" then
    at(plan, path, t, nil, nil)
    return { model = t.model, weight = weight, signed = t.signed, separator = t.separator,
      steps = t.steps, implicit = t.implicit }
  end
  if node.kind(t) == "scorer" then
    plan.functions[name] = t.fn
    plan.kinds[name] = "reward"
    at(plan, path, t, nil, nil)
    return { lua = name, weight = weight }
  end
  return use(plan, path, t, weight)
end

-- { weight, thing } or thing
function weighted(t, key, v, kinds, form)
  if type(v) == "table" and not node.kind(v) then
    node.inside(v, t, key)
    node.keys(v, key, {}, true)
    if type(v[1]) ~= "number" or not kinds[node.kind(v[2])] or v[3] ~= nil then
      node.refuse(t, key, "%s: expected { weight, %s }, got { %s, %s%s }", key, form,
        node.describe(v[1]), node.describe(v[2]), v[3] ~= nil and ", ..." or "")
    end
    return v[1], v[2]
  end
  if not kinds[node.kind(v)] then
    node.refuse(t, key, "%s: expected %s or { weight, %s }, got %s", key, form, form,
      type(v) == "function" and "a function (a word without its table { })" or node.describe(v))
  end
  return 1.0, v
end

local reward_kinds = { reward = true, scorer = true, scored = true }

local function rewards(plan, path, task, name)
  local r, out = task.reward, {}
  if r == nil then return out end
  if reward_kinds[node.kind(r)] then
    local key = node.kind(r) == "scorer" and "scorer" or node.kind(r) == "scored" and r.model
      or short(normal.plugin_of[r])
    out[key] = reward(plan, path .. "." .. key, r, 1.0, format("reward:%s.%s", name, key))
    return out
  end
  want(task, "reward", r, "mix", 'd.reward "id" { ... }, d.scorer(fn), d.scored_by "model" or d.mix { ... }',
    "reward")
  node.keys(r, "d.mix", (function()
    local all = {}
    for k in pairs(r) do if type(k) == "string" then all[#all + 1] = k end end
    return all
  end)())
  for key, v in pairs(r) do
    local weight, t = weighted(r, key, v, reward_kinds, "a reward")
    out[key] = reward(plan, path .. "." .. key, t, weight, format("reward:%s.%s", name, key))
    at(plan, path .. "." .. key .. ".weight", r, key, "weight of " .. key)
  end
  return out
end

local function objectives(plan, path, task)
  local out = {}
  if task.objective ~= nil and task.objectives ~= nil then
    node.refuse(task, "objectives", "either 'objective' or 'objectives', not both")
  end
  if task.objectives ~= nil then
    local list = node.table(task, "objectives", task.objectives, "objectives")
    for key, v in pairs(list) do
      if type(key) ~= "string" then
        node.refuse(list, key, "objectives need names: objectives = { NAME = d.objective ... }")
      end
      local weight, t = weighted(list, key, v, { objective = true }, "an objective")
      out[key] = use(plan, path .. "." .. key, t, weight)
      at(plan, path .. "." .. key .. ".weight", list, key, "weight of " .. key)
    end
    return out
  end
  want(task, "objective", task.objective, "objective", 'd.objective "id" { ... }', "objective")
  local key = short(normal.plugin_of[task.objective])
  out[key] = use(plan, path .. "." .. key, task.objective, 1.0)
  return out
end

local rollout_keys = { "samples", "temperature", "max_tokens", "top_k", "top_p", "min_p", "stop",
  "epochs", "minibatches", "max_kl", "dynamic", "demonstrate" }
local demonstrate_keys = { "prompt", "part", "at_least", "own", "feedback" }
local eval_keys = { "holdout", "data", "every", "patience", "metric", "greater", "samples", "at_start" }

-- What a teacher reads: the row with a good answer of the same group.
local function demonstrate(plan, path, rollout, name)
  if rollout.demonstrate == nil then return null end
  local t = node.table(rollout, "demonstrate", rollout.demonstrate, "rollout.demonstrate")
  node.keys(t, "rollout.demonstrate", demonstrate_keys)
  local out = { part = null, at_least = 1.0, own = false, feedback = null }
  copy(plan, path, t, demonstrate_keys, "rollout.demonstrate", out)
  if t.prompt ~= nil then
    out.prompt = column(plan, t, "prompt", t.prompt, "row", name .. ".demonstrate")
  end
  return out
end

local function rollout(plan, path, task, name)
  if task.rollout == nil then return null end
  local t = node.table(task, "rollout", task.rollout, "rollout")
  node.keys(t, "rollout", rollout_keys)
  local r = { samples = 8, temperature = 1.0, max_tokens = 256, top_k = 0, top_p = 1.0, min_p = 0.0,
    stop = node.list {}, epochs = 1, minibatches = 1, max_kl = 0.0 }
  copy(plan, path, t, rollout_keys, "rollout", r)
  if type(r.stop) == "string" then r.stop = { r.stop } end
  if type(r.dynamic) == "table" then
    local dynamic = node.table(t, "dynamic", t.dynamic, "rollout.dynamic")
    node.keys(dynamic, "rollout.dynamic", { "part", "tries" })
    r.dynamic = { part = dynamic.part == nil and null or dynamic.part, tries = dynamic.tries or 4 }
    copy(plan, path .. ".dynamic", dynamic, { "part", "tries" }, "rollout.dynamic", {})
  elseif r.dynamic == nil then
    r.dynamic = null
  end
  r.demonstrate = demonstrate(plan, path .. ".demonstrate", t, name)
  return r
end

local data_form = "d.texts, d.completions, d.pairs, d.prompts, d.labels, d.steps or "
  .. "d.lists { ... }"

local function eval(plan, path, task, name)
  if task.eval == nil then return null end
  local t = node.table(task, "eval", task.eval, "eval")
  node.keys(t, "eval", eval_keys)
  local source = t.data
  if t.holdout ~= nil then
    if t.holdout ~= true or t.data ~= nil or not task.data.holdout then
      node.refuse(t, "holdout", "eval.holdout: expected `holdout = true` in place of 'data', with the "
        .. "share in the task's own data (holdout = 0.05)")
    end
    source = task.data
  end
  want(t, "data", source, "data", data_form, "eval.data")
  local metric = t.metric or (task.rollout and "reward" or "loss")
  local e = { every = 50, patience = 0, samples = 1, at_start = true, metric = metric,
    greater = not (type(metric) == "string" and find(metric, "loss$") ~= nil) }
  copy(plan, path, t, eval_keys, "eval", e)
  e.holdout = nil
  e.data = normal.data(plan, path .. ".data", source, name .. ".eval", false)
  if t.holdout then
    e.data.split = task.data.split or "train"
    e.data.held = true
    for _, other in ipairs(e.data.also) do other.held, other.split = true, e.data.split end
  end
  return e
end

normal.task_keys = { "data", "objective", "objectives", "reward", "rollout", "estimator", "batch",
  "eval", "critic", "reference", "teacher", "reference_update", "teacher_update" }

local update_keys = { "kind", "alpha", "every", "kappa", "eta", "rho", "gamma", "beta_min" }

local function update(plan, path, t, key)
  if t[key] == nil then return null end
  local u = node.table(t, key, t[key], key)
  node.keys(u, key, update_keys)
  return copy(plan, path .. "." .. key, u, update_keys, key, {})
end

-- The models of a task by name; "ema" is the slow copy of the task's own model.
local function roles(plan, path, t, out)
  for _, k in ipairs { "critic", "reference", "teacher" } do
    at(plan, path .. "." .. k, t, k, k)
    out[k] = t[k] == nil and null or t[k]
  end
  for _, k in ipairs { "reference_update", "teacher_update" } do
    at(plan, path .. "." .. k, t, k, k)
    out[k] = update(plan, path, t, k)
  end
  if out.teacher == "ema" then
    out.teacher = "self"
    if out.teacher_update == null then out.teacher_update = { kind = "mix" } end
  end
end

-- own: the name of its model, nil: the recipe's
function normal.task(plan, name, t, own)
  local path = "tasks." .. name
  local function key(k) at(plan, path .. "." .. k, t, k, k) end
  for _, k in ipairs { "data", "rollout", "estimator", "eval" } do key(k) end
  at(plan, path, t, nil, "task " .. name)
  at(plan, path .. ".rewards", t, "reward", "reward")
  at(plan, path .. ".objectives", t, t.objectives and "objectives" or "objective", "objectives")
  want(t, "data", t.data, "data", data_form, "data")
  local out = {
    data = normal.data(plan, path .. ".data", t.data, name, true),
    rollout = rollout(plan, path .. ".rollout", t, name),
    rewards = rewards(plan, path .. ".rewards", t, name),
    objectives = objectives(plan, path .. ".objectives", t),
    eval = eval(plan, path .. ".eval", t, name),
    estimator = null,
    rows = 8,
  }
  at(plan, path .. ".rows", t, "batch", "batch.rows")
  roles(plan, path, t, out)
  if own ~= nil then out.model = own end
  at(plan, path .. ".model", t, "model", "model")
  if t.batch ~= nil then
    local batch = node.table(t, "batch", t.batch, "batch")
    node.keys(batch, "batch", { "rows" })
    if batch.rows ~= nil then out.rows = batch.rows end
    at(plan, path .. ".rows", batch, "rows", "batch.rows")
  end
  if t.estimator ~= nil then
    want(t, "estimator", t.estimator, "estimator", 'd.estimator "id" { ... }', "estimator")
    out.estimator = use(plan, path .. ".estimator", t.estimator)
  end
  return out
end

function normal.optimizer(plan, path, t)
  local kind = node.info(t).call
  local o = { kind = kind, betas = { 0.9, 0.999 }, eps = 1e-8, weight_decay = 0.0, momentum = 0.0,
    clip = 1.0 }
  copy(plan, path, t, { "lr", "betas", "eps", "weight_decay", "momentum", "clip" }, kind, o)
  if o.lr == nil then node.refuse(t, nil, "d.%s needs 'lr'", kind) end
  normal.schedule(plan, path .. ".lr", o.lr)
  return o
end

function normal.schedule(plan, path, v)
  if node.kind(v) ~= "schedule" then return end
  for k in pairs(v) do at(plan, path .. "." .. k, v, k, node.info(v).call .. "." .. k) end
end

-- A weight that is a function of (step, metrics so far).
function normal.weight(plan, phase, task, fn)
  local name = format("weight:%d.%s", phase, task)
  plan.functions[name] = fn
  plan.kinds[name] = "weight"
  return { lua = name }
end

local combines = { balance = "norm", pcgrad = "pcgrad", mgda = "mgda", cagrad = "cagrad" }

-- { NAME = d.constraint { ... } } and the like: at_most or at_least becomes the bound.
local function bounded(plan, t, key, kind, tree)
  if t[key] == nil then return end
  local list = node.table(t, key, t[key], key)
  at(plan, key, t, key, key)
  for name, v in pairs(list) do
    local path = format("%s.%s", key, tostring(name))
    if type(name) ~= "string" then
      node.refuse(list, name, "%s need names: %s = { NAME = d.%s { ... } }", key, key, kind)
    end
    want(list, name, v, kind, "d." .. kind .. " { ... }", path)
    if (v.at_most == nil) == (v.at_least == nil) then
      node.refuse(v, v.at_most and "at_least" or nil, "d.%s needs one of 'at_most' and 'at_least'", kind)
    end
    local out = { bound = v.at_most or v.at_least, at_least = v.at_least ~= nil }
    for k, x in pairs(v) do
      if k ~= "at_most" and k ~= "at_least" then out[k] = x end
      at(plan, path .. "." .. k, v, k, k)
    end
    at(plan, path, v, nil, "d." .. kind)
    at(plan, path .. ".bound", v, v.at_most and "at_most" or "at_least", v.at_most and "at_most" or "at_least")
    tree[key][name] = out
  end
end

-- How several objectives share a step, beside the schedule.
function normal.mix(plan, t, tree)
  tree.combine, tree.gradients_every, tree.constraints, tree.limits = { kind = "sum" }, 0, {}, {}
  if t.combine ~= nil then
    want(t, "combine", t.combine, "combine", "d.balance, d.pcgrad, d.mgda or d.cagrad { ... }", "combine")
    tree.combine.kind = combines[node.info(t.combine).call]
    for k, v in pairs(t.combine) do
      tree.combine[k] = v
      at(plan, "combine." .. k, t.combine, k, "combine." .. k)
    end
    at(plan, "combine", t.combine, nil, "combine")
  end
  if t.gradients_every ~= nil then tree.gradients_every = t.gradients_every end
  at(plan, "gradients_every", t, "gradients_every", "gradients_every")
  bounded(plan, t, "constraints", "constraint", tree)
  bounded(plan, t, "limits", "limit", tree)
end

normal.at = at
normal.want = want
return normal
