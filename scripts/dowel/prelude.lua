-- pairs in sorted order: numbers upwards, then strings by their bytes, then the rest in no promised
-- order. A recipe must give the same plan in every process, and Lua seeds its hashes anew each time.
local next, type, error, sort, getmetatable = next, type, error, table.sort, getmetatable

local rank = { number = 1, string = 2, boolean = 3 }

local function before(a, b)
  local x, y = rank[type(a)] or 4, rank[type(b)] or 4
  if x ~= y then return x < y end
  if x == 3 then return not a and b end
  return x < 3 and a < b
end

return function(t)
  if type(t) ~= "table" then
    error("bad argument #1 to 'pairs' (table expected, got " .. type(t) .. ")", 2)
  end
  local mt = getmetatable(t)
  local own = type(mt) == "table" and mt.__pairs
  if own then
    local f, s, k = own(t)
    return f, s, k
  end
  local keys, n, i = {}, 0, 0
  for k in next, t do
    n = n + 1
    keys[n] = k
  end
  sort(keys, before)
  return function()
    while i < n do
      i = i + 1
      local k = keys[i]
      local v = t[k]
      if v ~= nil then return k, v end
    end
  end, t, nil
end
