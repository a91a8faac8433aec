-- expect 3: bomb_unpack.lua:2: too many results to unpack
local x = table.unpack({}, 1, 1e7)
