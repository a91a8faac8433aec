-- expect 3: bomb_global_metatable.lua:2: attempt to index a boolean value
getmetatable("").__index = nil
