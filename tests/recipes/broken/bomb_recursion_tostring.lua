-- expect 3: bomb_recursion_tostring.lua:3: C stack overflow
local mt = {}
mt.__tostring = function(t) return tostring(setmetatable({}, mt)) end
local x = tostring(setmetatable({}, mt))
