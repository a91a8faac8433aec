-- expect 3: bomb_pattern.lua:2: used more than 2 s of processor time
local s = string.find(("a"):rep(32), ("a-"):rep(9) .. "b")
local t = string.find(("a"):rep(40), ("a-"):rep(14) .. "b")
