-- expect 3: bomb_memory_pcall.lua:3: used more than 2 s of processor time
local t = {}
while true do pcall(function() t[#t + 1] = string.rep("x", 1 << 20) end) end
