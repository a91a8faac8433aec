-- expect 3: bomb_recursion_load.lua:2: attempt to call a nil value
local x = load(string.rep("(", 300) .. "1" .. string.rep(")", 300))()
