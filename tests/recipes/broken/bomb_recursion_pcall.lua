-- expect 3: bomb_recursion_pcall.lua: a recipe's file must end with `return d.recipe { ... }`, it returned a number
local function f() return pcall(f) end
f()
return 1
