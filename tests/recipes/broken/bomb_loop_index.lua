-- expect 3: bomb_loop_index.lua:3: C stack overflow
local t = setmetatable({}, {})
getmetatable(t).__index = function(_, k) return t[k + 1] end
local x = t[1]
