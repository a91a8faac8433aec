-- expect 3: bomb_memory_table.lua:3: used more than 256 MiB of memory
local t = {}
for i = 1, 1e9 do t[i] = i end
