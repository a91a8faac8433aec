-- expect 3: bomb_loop_coroutine.lua:4: used more than 50 million instructions
while true do
  local co = coroutine.wrap(function() while true do end end)
  pcall(co)
end
