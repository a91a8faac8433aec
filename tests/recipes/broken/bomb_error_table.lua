-- expect 3: bomb_error_table.lua:2: error with a table instead of a message
error({ code = 1 })
