-- expect 3: bomb_memory_rep.lua:2: resulting string too large
local s = string.rep("x", 1 << 40)
