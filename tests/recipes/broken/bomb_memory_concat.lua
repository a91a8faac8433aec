-- expect 3: bomb_memory_concat.lua:3: used more than 256 MiB of memory
local s = "x"
while true do s = s .. s end
