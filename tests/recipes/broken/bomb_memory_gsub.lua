-- expect 3: bomb_memory_gsub.lua:3: used more than 256 MiB of memory
local s = string.rep("x", 1 << 14)
s = s:gsub(".", s)
local t = s:gsub(".", "yyyyyyyy")
