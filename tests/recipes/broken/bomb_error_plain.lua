-- expect 3: bomb_error_plain.lua:2: no position
error("no position", 0)
