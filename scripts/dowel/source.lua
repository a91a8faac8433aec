-- Finds the line of a key in a table constructor. Lua itself knows only the line of a call, and for a
-- table that spans ten lines that is the wrong one; so the source is read again, but only for messages.
local host = ...
local find, sub, match = string.find, string.sub, string.match

local opens = { ["function"] = true, ["if"] = true, ["do"] = true, ["repeat"] = true }
local closes = { ["end"] = true, ["until"] = true }
local words = { ["and"] = true, ["return"] = true, ["or"] = true, ["not"] = true, ["in"] = true,
  ["then"] = true, ["else"] = true, ["elseif"] = true, ["while"] = true, ["for"] = true,
  ["local"] = true, ["break"] = true, ["goto"] = true, ["nil"] = true, ["true"] = true,
  ["false"] = true }

-- text -> list of {kind, text, line}; kinds: name, string, number, and the symbol itself
local function tokens(text)
  local out, n, at, line = {}, 0, 1, 1
  local function count(upto)
    local p = at
    while true do
      p = find(text, "\n", p, true)
      if not p or p > upto then break end
      line, p = line + 1, p + 1
    end
  end
  local function add(kind, value)
    n = n + 1
    out[n] = { kind = kind, text = value, line = line }
  end
  while at <= #text do
    local a, b, level = find(text, "^%[(=*)%[", at)
    local c = sub(text, at, at)
    if find(text, "^%s", at) then
      _, b = find(text, "^%s+", at)
    elseif find(text, "^%-%-", at) then
      a, b, level = find(text, "^%-%-%[(=*)%[", at)
      if a then
        _, b = find(text, "]" .. level .. "]", b + 1, true)
      else
        _, b = find(text, "^[^\n]*", at)
      end
    elseif a then
      local start = b
      _, b = find(text, "]" .. level .. "]", b + 1, true)
      add("string", sub(text, start + 1, (b or #text) - #level - 2))
    elseif c == '"' or c == "'" then
      b = at + 1
      while b <= #text and sub(text, b, b) ~= c do
        b = b + (sub(text, b, b) == "\\" and 2 or 1)
      end
      add("string", sub(text, at + 1, b - 1))
    elseif find(text, "^[%a_]", at) then
      _, b = find(text, "^[%w_]+", at)
      add("name", sub(text, at, b))
    elseif find(text, "^%.?%d", at) then
      _, b = find(text, "^[%w%.]+", at)
      add("number", sub(text, at, b))
    else
      _, b = find(text, "^[=~<>]=", at)
      b = b or at
      add(sub(text, at, b), sub(text, at, b))
    end
    b = b or #text
    count(b)
    at = b + 1
  end
  return out
end

-- The function that a constructor is the argument of: `model {`, `objective "dpo" {`, `with ({`.
local function caller(t, i)
  i = i - 1
  if t[i] and t[i].kind == "(" then i = i - 1 end
  if t[i] and t[i].kind == "string" then i = i - 1 end
  if t[i] and t[i].kind == "(" then i = i - 1 end
  local name = t[i]
  if name and name.kind == "name" and not words[name.text] then return name.text, name.line end
end

-- Every constructor of a file: {line, call, call_line, keys = {name = {line, child}}, items = {...}}
local function constructors(text)
  local t, all, stack = tokens(text), {}, {}
  local i = 1
  local function field(open)
    local entry = { line = t[i].line }
    if t[i].kind == "name" and t[i + 1] and t[i + 1].kind == "=" then
      open.keys[t[i].text] = entry
      i = i + 2
    elseif t[i].kind == "[" and t[i + 1] and t[i + 1].kind == "string" and t[i + 3]
      and t[i + 3].kind == "=" then
      open.keys[t[i + 1].text] = entry
      i = i + 4
    else
      open.items[#open.items + 1] = entry
    end
    open.entry = entry
  end
  while t[i] do
    local top = stack[#stack]
    if top and top.fresh and t[i].kind ~= "}" then
      top.fresh = false
      field(top)
    end
    local k = t[i] and t[i].kind
    if k == "{" then
      local call, line = caller(t, i)
      local c = { line = t[i].line, call = call, call_line = line, keys = {}, items = {}, fresh = true }
      if top and top.entry and not top.entry.child then top.entry.child = c end
      all[#all + 1] = c
      stack[#stack + 1] = c
    elseif k == "(" or k == "[" or (k == "name" and opens[t[i].text]) then
      stack[#stack + 1] = {}
    elseif k == "}" or k == ")" or k == "]" or (k == "name" and closes[t[i].text]) then
      stack[#stack] = nil
    elseif top and top.keys and (k == "," or k == ";") then
      top.fresh = true
    end
    i = i + 1
  end
  return all
end

local cache = {}
local function of(file)
  if not cache[file] then
    local text = host.source(file)
    cache[file] = text and constructors(text) or {}
  end
  return cache[file]
end

local function same_keys(c, keys)
  for k in next, keys do
    if not c.keys[k] then return false end
  end
  for k in next, c.keys do
    if not keys[k] then return false end
  end
  return true
end

local source = {}

-- The constructor of a builder's table: same keys, same function, and nearest to the call's line.
function source.of_call(file, line, call, keys)
  local best, score
  for _, c in ipairs(of(file)) do
    if c.call == call and same_keys(c, keys) then
      local s = line and math.abs(c.call_line - line) or 0
      if not score or s < score then best, score = c, s end
    end
  end
  return best
end

-- The constructor of a plain table: the only one of the file with these keys that no call takes.
function source.of_keys(file, keys)
  local best
  for _, c in ipairs(of(file)) do
    if not c.call and same_keys(c, keys) then
      if best then return nil end
      best = c
    end
  end
  return best
end

return source
