-- expect 3: bomb_gc.lua:2: a recipe may not set '__gc'
setmetatable({}, { __gc = function() while true do end end })
