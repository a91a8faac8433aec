-- expect 3: bomb_bytecode.lua:3: attempt to call a nil value (local 'f')
local f = load("\27Lua")
f()
