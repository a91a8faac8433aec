-- d.recipe: puts the parts together, completes the plugins' options, checks the plan; and the edits
-- of a finished recipe, recipe:with { ["a.b"] = value } and --set a.b=value.
local host = ...
local node = host.load("node")
local normal = host.load("normal")
local type, find, format, match, gmatch, sub = type, string.find, string.format, string.match,
  string.gmatch, string.sub
local null = host.null

local recipe = { plugin_of = normal.plugin_of, columns = normal.columns, mixture = normal.mixture }
local plans = setmetatable({}, { __mode = "k" }) -- recipe's tree -> its plan
local methods = {}
local mt = { __index = methods, __name = "dowel.recipe" }

-- What a recipe has of its own, and what may stand beside it when it has one task.
local own_keys = { "name", "seed", "model", "models", "plugin_dirs", "threads", "tasks", "schedule", "steps",
  "epochs", "optimizer", "micro_tokens", "save_every", "keep", "save_dtype", "save_merged", "combine",
  "gradients_every", "constraints", "limits" }

-- ---- messages ----------------------------------------------------------------------------------

-- "tasks.main.rows: expected ..." -> refused at the line that path came from
local function refuse_path(plan, message)
  local path, rest = match(message, "^([%w_.%-]+): (.*)$")
  local known, tail = path, ""
  while known and not plan.pos[known] do
    local head, last = match(known, "^(.*)%.([^.]*)$")
    known, tail = head, "." .. (last or "") .. tail
  end
  local p = known and plan.pos[known]
  if not p then error(format("%s: %s", host.recipe, message), 0) end
  if p.set then error(format("%s: %s", p.set, rest), 0) end
  node.refuse(p.t, p.key, "%s%s: %s", p.label or known, tail, rest)
end

-- The option that a plugin's message is about: the given key that it names.
local function option_of(options, message)
  for k in pairs(options) do
    local at = find(message, k, 1, true)
    local after = at and sub(message, at + #k, at + #k)
    if at and not find(after, "[%w_]") and not find(sub(message, at - 1, at - 1), "[%w_]") then
      return k
    end
  end
end

-- ---- plugins -----------------------------------------------------------------------------------

-- Fills in the options of one use of a plugin; gives what the plugin is.
local function complete(plan, path, use, kind)
  local p = plan.pos[path]
  local function refuse(key, text)
    local set = plan.pos[path .. ".options." .. tostring(key)] or p
    if set.set or p.set then error(format("%s: %s", set.set or p.set, text), 0) end
    node.refuse(p.t, key, "%s", text)
  end
  local dirs = plan.tree.plugin_dirs
  if type(dirs) ~= "table" then dirs = {} end
  if type(use.plugin) ~= "string" then return {} end -- left to the plan's own check
  local info, why = host.plugin(use.plugin, dirs)
  if not info then refuse(nil, why) end
  if not info[kind] then
    local is = info.objective and "an objective" or info.reward and "a reward" or "another kind"
    refuse(nil, format("'%s' is no %s, it is %s", use.plugin, kind, is))
  end
  if type(use.options) ~= "table" then return info end
  for k in pairs(use.options) do
    if type(k) ~= "string" then
      refuse(k, format('d.%s "%s": options need names', kind, use.plugin))
    end
  end
  local full, message = host.options(use.plugin, dirs, use.options)
  if not full then
    if sub(message, 1, #use.plugin + 1) ~= use.plugin .. ":" then
      message = use.plugin .. ": " .. message
    end
    refuse(option_of(use.options, message), message)
  end
  use.options = full
  return info
end

local function complete_task(plan, name, task)
  local path, credits = "tasks." .. name, task.estimator ~= null and task.estimator.plugin
  for key, use in pairs(task.objectives) do
    local at = format("%s.objectives.%s", path, key)
    local info = complete(plan, at, use, "objective")
    credits = credits or info.estimator and use.plugin
    local data = type(task.data) == "table" and task.data.type
    if info.feeds and info.feeds[data] == false then
      local p = plan.pos[at]
      node.refuse(p.t, nil, "%s trains on %s, but the data of this task is %s", use.plugin,
        info.takes, data)
    end
  end
  if task.rollout ~= null and credits and next(task.rewards) == nil then
    local p = plan.pos[path .. ".rollout"]
    node.refuse(p.t, nil, "reward: %s credits answers by their rewards, and there is none", credits)
  end
  for key, use in pairs(task.rewards) do
    if use.plugin then complete(plan, format("%s.rewards.%s", path, key), use, "reward") end
  end
  if task.estimator ~= null then
    complete(plan, path .. ".estimator", task.estimator, "estimator")
  end
end

-- ---- the check ---------------------------------------------------------------------------------

local function check(plan)
  local tree = plan.tree
  local functions = {}
  for k, v in pairs(plan.kinds) do functions[k] = v end
  tree.functions = functions
  if host.checks_files() and type(tree.tasks) == "table" then
    for name, task in pairs(tree.tasks) do
      if type(task) == "table" and type(task.objectives) == "table"
        and type(task.rewards) == "table" then
        complete_task(plan, name, task)
      end
    end
  end
  local ok, message = host.check(tree)
  if not ok then refuse_path(plan, message) end
end

-- ---- from what was written ---------------------------------------------------------------------

local function schedule(plan, t)
  local tree, names = plan.tree, {}
  for name in pairs(tree.tasks) do names[#names + 1] = name end
  local given = (t.steps ~= nil and 1 or 0) + (t.epochs ~= nil and 1 or 0)
    + (t.schedule ~= nil and 1 or 0)
  if given ~= 1 then
    node.refuse(t, t.schedule ~= nil and "schedule" or t.epochs ~= nil and "epochs" or nil,
      given == 0 and "recipe needs 'steps', 'epochs' or a 'schedule'"
        or "recipe takes one of 'steps', 'epochs' and 'schedule', not several")
  end
  if t.schedule == nil then
    local weights = {}
    for _, name in ipairs(names) do weights[name] = 1.0 end
    tree.schedule = { { steps = t.steps or 1, weights = weights } }
    normal.at(plan, "schedule", t, t.steps ~= nil and "steps" or "epochs", "schedule")
    normal.at(plan, "schedule.0.steps", t, t.steps ~= nil and "steps" or "epochs", "steps")
    if t.epochs ~= nil then
      if type(t.epochs) ~= "number" or not (t.epochs > 0 and t.epochs <= 1e6) then
        node.refuse(t, "epochs", "epochs: expected a number above 0, got %s",
          type(t.epochs) == "number" and tostring(t.epochs) or node.describe(t.epochs))
      end
      if #names > 1 then
        node.refuse(t, "epochs", "epochs count one task's data; with several tasks give 'steps'")
      end
      plan.epochs = t.epochs
    end
    return
  end
  local list = node.table(t, "schedule", t.schedule, "schedule")
  tree.schedule = node.list {}
  normal.at(plan, "schedule", t, "schedule", "schedule")
  for i, phase in ipairs(list) do
    local p = node.table(list, i, phase, "schedule[" .. i .. "]")
    local path, weights = format("schedule.%d", i - 1), {}
    normal.at(plan, path, list, i, "schedule[" .. i .. "]")
    normal.at(plan, path .. ".weights", list, i, "schedule[" .. i .. "]")
    normal.at(plan, path .. ".steps", p, "steps", "steps")
    for k, v in pairs(p) do
      if k ~= "steps" then
        if not tree.tasks[k] then
          node.refuse(p, k, "no task '%s' in this recipe%s", tostring(k),
            node.suggest(tostring(k), names))
        end
        weights[k] = type(v) == "function" and normal.weight(plan, i - 1, k, v) or v
        normal.at(plan, path .. ".weights." .. k, p, k, "weight of " .. k)
        normal.schedule(plan, path .. ".weights." .. k, v)
      end
    end
    for _, name in ipairs(names) do
      if weights[name] == nil then weights[name] = 0 end
    end
    tree.schedule[i] = { steps = p.steps, weights = weights }
  end
  node.keys(list, "schedule", {}, true)
end

local function tasks(plan, t)
  local tree = plan.tree
  if t.tasks == nil then
    tree.tasks = { main = normal.task(plan, "main", t) }
    normal.at(plan, "tasks", t, nil, "recipe")
    normal.at(plan, "tasks.main", t, nil, "recipe")
    return
  end
  for _, k in ipairs(normal.task_keys) do
    if t[k] ~= nil then
      node.refuse(t, k, "'%s' belongs into a task, since this recipe has 'tasks'", k)
    end
  end
  normal.at(plan, "tasks", t, "tasks", "tasks")
  local list = node.table(t, "tasks", t.tasks, "tasks")
  tree.tasks = {}
  for name, task in pairs(list) do
    if type(name) ~= "string" then
      node.refuse(list, name, "tasks need names: tasks = { NAME = { data = ..., ... } }")
    end
    local own = node.table(list, name, task, "tasks." .. name)
    local keys = { "model" } -- of the recipe where it has one task
    for _, k in ipairs(normal.task_keys) do keys[#keys + 1] = k end
    node.keys(own, "task " .. name, keys)
    tree.tasks[name] = normal.task(plan, name, own, own.model)
  end
end

local function all_keys(t)
  local keys = {}
  for _, k in ipairs(own_keys) do keys[#keys + 1] = k end
  if t.tasks == nil then
    for _, k in ipairs(normal.task_keys) do keys[#keys + 1] = k end
  end
  return keys
end

function recipe.create(t)
  local plan = { tree = { dowel = 1 }, pos = {}, functions = {}, kinds = {}, origin = {} }
  local tree = plan.tree
  for k in pairs(t) do -- a task's key beside `tasks` gets its own message
    if t.tasks ~= nil then
      for _, own in ipairs(normal.task_keys) do
        if k == own then tasks(plan, t) end
      end
    end
  end
  node.keys(t, "recipe", all_keys(t))
  local stem = match(host.recipe, "([^/]+)$")
  tree.name = (string.gsub(string.gsub(stem, "%.lua$", ""), "[^%w_.-]", "-"))
  tree.seed, tree.threads, tree.micro_tokens, tree.save_every = 0, 0, 4096, 0
  tree.keep, tree.save_dtype, tree.save_merged, tree.plugin_dirs = 2, "source", false, node.list {}
  for _, k in ipairs { "name", "seed", "threads", "micro_tokens", "save_every", "keep", "save_dtype",
    "save_merged" } do
    if t[k] ~= nil then tree[k] = t[k] end
    normal.at(plan, k, t, k, k)
  end
  if t.plugin_dirs ~= nil then
    local list = node.table(t, "plugin_dirs", t.plugin_dirs, "plugin_dirs")
    for i, dir in ipairs(list) do
      tree.plugin_dirs[i] = normal.path(plan, list, i, dir, "plugin_dirs")
      if host.checks_files() and host.exists(tree.plugin_dirs[i]) ~= "dir" then
        node.refuse(list, i, "no plugin folder '%s' (looked in %s)", dir, host.folder)
      end
    end
    normal.at(plan, "plugin_dirs", t, "plugin_dirs", "plugin_dirs")
  end
  normal.want(t, "model", t.model, "model", "d.model { ... }", "model")
  normal.at(plan, "model", t.model, nil, "model")
  tree.model = normal.model(plan, "model", t.model)
  tree.models = normal.models(plan, t)
  tasks(plan, t)
  schedule(plan, t)
  normal.mix(plan, t, tree)
  normal.want(t, "optimizer", t.optimizer, "optimizer", "d.adamw { ... } or d.sgd { ... }",
    "optimizer")
  normal.at(plan, "optimizer", t.optimizer, nil, t.optimizer and node.info(t.optimizer).call)
  tree.optimizer = normal.optimizer(plan, "optimizer", t.optimizer)
  check(plan)
  plans[tree] = plan
  return setmetatable(tree, mt)
end

-- ---- edits -------------------------------------------------------------------------------------

local function deep(v)
  if type(v) ~= "table" then return v end
  local out = {}
  for k, x in next, v do out[deep(k)] = deep(x) end
  if next(out) == nil and rawlen(v) == 0 and getmetatable(v) ~= nil then node.list(out) end
  return out
end

local function copy_plan(plan)
  local new = { epochs = plan.epochs }
  for _, k in ipairs { "pos", "functions", "kinds", "origin" } do
    new[k] = {}
    for a, b in next, plan[k] do new[k][a] = b end
  end
  new.tree = deep(plan.tree)
  return new
end

-- The short forms of a recipe of one task or one phase: "steps", "batch.rows", "objective.options.x".
local function expand(plan, path)
  local tree = plan.tree
  local first = match(path, "^[^.]+")
  if path == "steps" and #tree.schedule == 1 then return "schedule.0.steps" end
  local name = next(tree.tasks)
  local single = name and next(tree.tasks, name) == nil
  if path == "batch.rows" and single then return format("tasks.%s.rows", name) end
  local prefix, tail = match(path, "^(tasks%.[^.]+%.)batch%.rows$")
  if prefix then return prefix .. "rows" end
  prefix, tail = match(path, "^tasks%.([^.]+)%.(.*)$")
  if prefix == nil and single and first ~= "tasks" then
    for _, k in ipairs { "data", "objective", "objectives", "rewards", "rollout", "estimator", "eval",
      "rows" } do
      if first == k then prefix, tail = name, path end
    end
  end
  if prefix and tree.tasks[prefix] then
    local list = tree.tasks[prefix].objectives
    local key = next(list)
    local under = match(tail, "^objective%.(.*)$")
    if under and next(list, key) == nil then tail = format("objectives.%s.%s", key, under) end
    return format("tasks.%s.%s", prefix, tail)
  end
  return path
end

local function names_of(t)
  local names = {}
  for k in pairs(t) do
    if type(k) == "string" then names[#names + 1] = k end
  end
  return names
end

-- Sets a value that exists; `fail` refuses.
local function put(plan, path, value, fail)
  local full = expand(plan, path)
  local t, seen, last = plan.tree, "", nil
  local parts = {}
  for p in gmatch(full, "[^.]+") do parts[#parts + 1] = p end
  if full == "steps" then
    fail(format("the schedule has %d phases: schedule.0.steps and so on", #plan.tree.schedule))
  end
  for i, p in ipairs(parts) do
    local key = p
    if rawlen(t) > 0 and match(p, "^%d+$") then key = math.tointeger(tonumber(p)) + 1 end
    if t[key] == nil and rawlen(t) > 0 then
      fail(format("%s is a list of %d, counted from 0; it has no '%s'", seen, rawlen(t), p))
    elseif t[key] == nil then
      fail(format("%s has no key '%s'%s", seen == "" and "recipe" or seen, p,
        node.suggest(p, names_of(t))))
    end
    if i == #parts then
      last = key
    else
      seen = seen == "" and p or seen .. "." .. p
      if type(t[key]) ~= "table" then
        fail(format("%s is %s in this recipe, so it has no key '%s'", seen,
          t[key] == null and "not set" or node.describe(t[key]), parts[i + 1]))
      end
      t = t[key]
    end
  end
  if full == "functions" or sub(full, 1, 10) == "functions." or full == "dowel" then
    fail(format("'%s' cannot be set", full))
  end
  t[last] = value
  if full == "schedule.0.steps" then plan.epochs = nil end
  for k in next, plan.pos do -- what stood below is gone
    if sub(k, 1, #full + 1) == full .. "." then plan.pos[k] = nil end
  end
  return full
end

-- A value given to `with` may be made by the vocabulary.
local function plain(plan, path, t, value)
  local kind = node.kind(value)
  if kind == "lora" then return normal.lora(plan, path, value) end
  if kind == "optimizer" then return normal.optimizer(plan, path, value) end
  if kind == "model" then return normal.model(plan, path, value, match(path, "^models%.(.*)$")) end
  if kind == "data" then
    local task, eval = match(path, "^tasks%.([^.]+)%.data$"), match(path, "^tasks%.([^.]+)%.eval%.data$")
    if task then return normal.data(plan, path, value, task, true) end
    if eval then return normal.data(plan, path, value, eval .. ".eval", false) end
  end
  if kind ~= nil and kind ~= "schedule" then
    node.refuse(t, path, "%s: d.%s { ... } cannot stand here", path, node.info(value).call)
  end
  return value
end

local function is_model(path)
  return path == "model.path" or match(path, "^models%.[^.]+%.path$")
end

local function is_path(path)
  return is_model(path) or match(path, "%.data%.template$") or match(path, "%.files%.%d+$") or match(path, "^plugin_dirs%.%d+$")
end

function methods:with(edits)
  local old = plans[self]
  if type(edits) ~= "table" then error("recipe:with: expected a table { [\"a.b\"] = value }", 2) end
  node.made(edits, "with", "with")
  local plan = copy_plan(old)
  for path, value in pairs(edits) do
    local function fail(text) node.refuse(edits, path, "%s", text) end
    if type(path) ~= "string" then fail("recipe:with takes names like [\"tasks.main.rows\"]") end
    local full = put(plan, path, value, fail)
    plan.pos[full] = { t = edits, key = path, label = path }
    value = plain(plan, full, edits, value)
    if is_path(full) then value = normal.path(plan, edits, path, value, path, is_model(full) and normal.place) end
    put(plan, path, deep(value), fail)
    plan.pos[full] = { t = edits, key = path, label = path }
  end
  check(plan)
  plans[plan.tree] = plan
  return setmetatable(plan.tree, mt)
end

-- Is "tasks.main.rewards.x.options.file" an option of the type path?
local function is_path_option(plan, full)
  local at, option = match(full, "^(.*)%.options%.([^.]+)$")
  local use = plan.tree
  for p in gmatch(at or "", "[^.]+") do use = use[p] end
  if not at or not host.checks_files() then return false end
  local info = host.plugin(use.plugin, plan.tree.plugin_dirs)
  return info ~= nil and info.paths[option] == true
end

-- "a.b=v" from the command line; paths start at the working directory.
function recipe.set(plan, text)
  local path, raw = match(text, "^%s*([^=%s]+)%s*=(.*)$")
  local function fail(message) error(format("--set %s: %s", text, message), 0) end
  if not path then error(format("--set %s: expected KEY=VALUE", text), 0) end
  local value = host.parse(raw)
  if path == "epochs" and plan.epochs ~= nil then
    if type(value) ~= "number" or not (value > 0 and value <= 1e6) then
      fail("expected a number above 0")
    end
    plan.epochs = value
    return
  end
  local full = put(plan, path, value, fail)
  if is_path(full) and type(value) == "string" then
    local given = value
    value = host.resolve(value, true)
    if is_model(full) then value = normal.place(value, given) end
  elseif type(value) == "string" and is_path_option(plan, full) then
    value = host.resolve(value, true)
  elseif match(full, "%.files$") or full == "plugin_dirs" then
    if type(value) == "string" then value = { value } end
    for i, v in ipairs(value) do
      if type(v) == "string" then value[i] = host.resolve(v, true) end
    end
  end
  put(plan, path, value, fail)
  plan.pos[full] = { set = "--set " .. text }
end

-- ---- the end -----------------------------------------------------------------------------------

local function refuse_at(plan, path, text)
  local p = plan.pos[path] or {}
  if p.set then error(p.set .. ": " .. text, 0) end
  if not p.t then error(format("%s: %s", host.recipe, text), 0) end
  node.refuse(p.t, p.key, "%s", text)
end

local function missing(plan, full, what)
  local given = plan.origin[full]
  if not given or given == full then return format("no %s '%s'", what, full) end
  local cache = what == "model folder" and " and in Hugging Face's cache; nothing is downloaded" or ""
  return format("no %s '%s' (looked in %s%s)", what, given, host.folder, cache)
end

local function is_ref(path)
  return sub(path, 1, 6) == "stage:"
end

local check_data
function check_data(plan, path, data)
  for i, file in ipairs(data.files) do
    local at = format("%s.files.%d", path, i - 1)
    if not plan.pos[at] then at = path .. ".files" end
    if not plan.pos[at] then at = path end
    if not host.exists(file) then refuse_at(plan, at, missing(plan, file, "data file")) end
    local found, why = host.data_file(file, data.split)
    if not found then
      local given = plan.origin[file]
      if given and sub(why, 1, #file) == file then why = given .. sub(why, #file + 1) end
      refuse_at(plan, at, why)
    end
  end
  for i, other in ipairs(data.also or {}) do check_data(plan, format("%s.also.%d", path, i - 1), other) end
end

local function check_template(plan, path, data)
  local file = data.template
  if type(file) ~= "string" or host.exists(file) == "file" then return end
  local at = plan.pos[path .. ".template"] and path .. ".template" or path
  refuse_at(plan, at, missing(plan, file, "template"))
end

local function check_model(plan, at, path)
  at = plan.pos[at .. ".path"] and at .. ".path" or at
  if type(path) ~= "string" then return end -- left to the plan's own check
  if is_ref(path) then
    if not plan.stages then
      refuse_at(plan, at, format("'%s' is the result of a stage, and this recipe is not one of d.stages",
        path))
    end
    return
  end
  if host.exists(path) == "file" and match(path, "%.gguf$") then return end
  if host.exists(path) ~= "dir" then refuse_at(plan, at, missing(plan, path, "model folder")) end
  if not host.exists(path .. "/config.json") and not host.exists(path .. "/adapter_config.json") then
    refuse_at(plan, at, format("the model folder '%s' holds no config.json",
      plan.origin[path] or path))
  end
end

local function check_files(plan)
  local tree = plan.tree
  check_model(plan, "model", tree.model.path)
  for name, m in pairs(tree.models) do check_model(plan, "models." .. name, m.path) end
  for name, task in pairs(tree.tasks) do
    check_data(plan, format("tasks.%s.data", name), task.data)
    check_template(plan, format("tasks.%s.data", name), task.data)
    if task.eval ~= null then
      check_data(plan, format("tasks.%s.eval.data", name), task.eval.data)
      check_template(plan, format("tasks.%s.eval.data", name), task.eval.data)
    end
  end
end

-- Epochs become steps: rows are counted as the files hold them. A run counts again, without the rows
-- that it drops.
local function count_epochs(plan)
  local tree = plan.tree
  local name, task = next(tree.tasks)
  local function count(data)
    local rows = 0
    for _, file in ipairs(data.files) do
      local n, why = host.rows(host.data_file(file, data.split) or file)
      if not n then refuse_at(plan, format("tasks.%s.data", name), why) end
      rows = rows + n
    end
    if data.max_rows > 0 and rows > data.max_rows then rows = data.max_rows end
    for _, other in ipairs(data.also) do rows = rows + count(other) end
    return rows
  end
  local rows = count(task.data)
  if rows == 0 then refuse_at(plan, format("tasks.%s.data", name), "the data has no rows") end
  tree.schedule[1].steps = math.ceil(plan.epochs * rows / task.rows)
  tree.schedule[1].epochs = plan.epochs
end

local function finish(plan)
  check(plan)
  if host.checks_files() then
    check_files(plan)
    if plan.epochs then count_epochs(plan) end
  end
end

-- ---- stages ------------------------------------------------------------------------------------

local staged = setmetatable({}, { __mode = "k" }) -- value of d.stages -> list of {name, plan}

-- Every path of a plan that names a stage names one of `before`.
local function check_refs(list, i, plan, before)
  local function visit(v, path)
    for k, x in pairs(v) do
      local at = path == "" and tostring(k) or path .. "." .. tostring(k)
      if k == "path" and type(x) == "string" and is_ref(x) then
        local name = match(x, "^stage:([^/]*)")
        if not before[name] then
          local names = {}
          for n in pairs(before) do names[#names + 1] = n end
          refuse_at(plan, plan.pos[at] and at or path, format("no stage '%s' before '%s'%s", name,
            list[i].name, node.suggest(name, names)))
        end
      elseif type(x) == "table" then
        visit(x, at)
      end
    end
  end
  visit(plan.tree, "")
end

function recipe.stages(t)
  local list, before = {}, {}
  node.keys(t, "d.stages", {}, true)
  for i, v in ipairs(t) do
    local entry = node.table(t, i, v, "d.stages")
    node.keys(entry, "a stage", {}, true)
    local name, tree = entry[1], entry[2]
    local plan = type(tree) == "table" and plans[tree]
    if type(name) ~= "string" or not find(name, "^[%w_-][%w_.-]*$") or not plan or entry[3] ~= nil then
      node.refuse(t, i, 'd.stages: expected { "name", d.recipe { ... } }, got { %s, %s%s }',
        type(name) == "string" and "'" .. name .. "'" or node.describe(name),
        plan and "d.recipe" or node.describe(tree), entry[3] ~= nil and ", ..." or "")
    end
    if before[name] then node.refuse(t, i, "d.stages: there are two stages '%s'", name) end
    list[i] = { name = name, plan = plan }
    check_refs(list, i, plan, before)
    before[name] = true
  end
  if #list == 0 then node.refuse(t, nil, "d.stages needs at least one stage") end
  staged[t] = list
  return t
end

-- "sft.steps=20" -> the stage's number, "steps=20"
local function stage_of(list, text)
  local name, rest = match(text, "^%s*([%w_-]+)%.(.*)$")
  local names = {}
  for i, s in ipairs(list) do
    if s.name == name then return i, rest end
    names[i] = s.name
  end
  error(format("--set %s: no stage '%s' in this recipe%s; write --set STAGE.KEY=VALUE", text,
    name or match(text, "^[^=]*"), node.suggest(name or "", names)), 0)
end

local function finish_stages(list, ...)
  local tree, functions, own = { dowel = 1, stages = {} }, {}, {}
  for i, s in ipairs(list) do
    own[i] = copy_plan(s.plan)
    own[i].stages = true
  end
  for _, text in ipairs { ... } do
    local i, rest = stage_of(list, text)
    recipe.set(own[i], rest)
  end
  for i, s in ipairs(list) do
    finish(own[i])
    tree.stages[i] = { name = s.name, plan = own[i].tree }
    functions[s.name] = own[i].functions
  end
  return tree, functions
end

-- What the recipe's file returned, and the --set texts -> plan or stages, functions
function recipe.finish(value, ...)
  local list = type(value) == "table" and staged[value]
  if list then return finish_stages(list, ...) end
  local old = plans[value]
  if not old then
    error(format("%s: a recipe's file must end with `return d.recipe { ... }`, it returned %s",
      host.recipe, node.describe(value)), 0)
  end
  local plan = copy_plan(old)
  for _, text in ipairs { ... } do recipe.set(plan, text) end
  finish(plan)
  return plan.tree, plan.functions
end

return recipe
