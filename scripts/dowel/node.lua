-- Remembers where each table of a recipe was written, and refuses with the line of a key.
local host = ...
local source = host.load("source")
local error, type, next, tostring, setmetatable = error, type, next, tostring, setmetatable
local format, concat, sort = string.format, table.concat, table.sort

local node = {}
-- table -> {kind, call, file, line} for what a word of the vocabulary made,
-- table -> {parent, key} for a plain one inside it
local nodes = setmetatable({}, { __mode = "k" })

local function string_keys(t)
  local keys = {}
  for k in next, t do
    if type(k) == "string" then keys[k] = true end
  end
  return keys
end

-- Marks t as made by the word `call`, called where the recipe's innermost frame stands. A word that
-- is returned from a function by a tail call has lost its line.
function node.made(t, kind, call, added)
  local file, line, tail = host.where()
  if not file then line = nil end -- `return d.recipe(r)` leaves nobody who called
  local keys = string_keys(t)
  for _, k in ipairs(added or {}) do keys[k] = nil end
  nodes[t] = { kind = kind, call = call, file = file, line = not tail and line or nil, near = line,
    keys = keys }
  return t
end

function node.kind(t)
  local n = type(t) == "table" and nodes[t] or nil
  return n and n.kind
end

function node.info(t)
  return nodes[t]
end

-- A plain table that stands at parent[key].
function node.inside(t, parent, key)
  if type(t) == "table" and not nodes[t] then nodes[t] = { parent = parent, key = key } end
  return t
end

-- t -> its constructor and file, or nil and the best line that is known
local function constructor(t)
  local n = nodes[t]
  if not n then return nil, host.recipe, nil end
  if n.call then
    local file = n.file or host.recipe
    local c = source.of_call(file, n.line or n.near, n.call, n.keys)
    return c, file, n.line or n.near
  end
  local c, file, line = constructor(n.parent)
  local entry
  if c then
    if type(n.key) == "number" then entry = c.items[n.key] else entry = c.keys[n.key] end
  end
  if entry and entry.child and not entry.child.call then return entry.child, file, entry.line end
  local own = source.of_keys(file, string_keys(t))
  return own, file, entry and entry.line or line
end

function node.where(t, key)
  local c, file, line = constructor(t)
  if c then
    local entry
    if type(key) == "number" then entry = c.items[key] else entry = key and c.keys[key] end
    line = entry and entry.line or c.line
  end
  return file, line
end

function node.refuse(t, key, text, ...)
  if select("#", ...) > 0 then text = format(text, ...) end
  local file, line = node.where(t, key)
  error(line and format("%s:%d: %s", file, line, text) or format("%s: %s", file, text), 0)
end

-- "a string", "a table", "d.model", ...
function node.describe(v)
  if v == nil or v == host.null then return "nothing" end
  local n = type(v) == "table" and nodes[v]
  if n and n.call then return "d." .. n.call end
  if type(v) == "boolean" then return tostring(v) end
  return "a " .. type(v)
end

function node.suggest(wrong, names)
  local near = host.nearest(wrong, names)
  return near and format(", did you mean '%s'?", near) or ""
end

-- Every string key must be in `names`; positions only where they are allowed.
function node.keys(t, what, names, positions)
  local known = {}
  for _, k in ipairs(names) do known[k] = true end
  for k in pairs(t) do
    if type(k) == "string" and not known[k] then
      node.refuse(t, k, "%s has no key '%s'%s", what, k, node.suggest(k, names))
    elseif type(k) == "number" and not positions then
      node.refuse(t, k, "%s takes names only, got %s without one", what, node.describe(t[k]))
    elseif type(k) ~= "string" and type(k) ~= "number" then
      node.refuse(t, nil, "%s has %s as a key", what, node.describe(k))
    end
  end
end

function node.table(t, key, value, what)
  if type(value) ~= "table" then
    node.refuse(t, key, "%s: expected a table, got %s", what, node.describe(value))
  end
  return node.inside(value, t, key)
end

function node.list(t)
  return host.list(t)
end

return node
