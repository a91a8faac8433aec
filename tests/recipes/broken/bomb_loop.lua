-- expect 3: bomb_loop.lua:2: used more than 50 million instructions
while true do end
