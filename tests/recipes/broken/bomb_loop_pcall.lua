-- expect 3: bomb_loop_pcall.lua:3: used more than 50 million instructions
local function spin() while true do end end
while true do pcall(spin) end
