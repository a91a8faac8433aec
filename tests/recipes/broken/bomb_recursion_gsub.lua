-- expect 3: bomb_recursion_gsub.lua:2: C stack overflow
local function f(s) return (s:gsub(".", f)) end
local x = f("a")
