-- expect 3: tail_call.lua:4: d.adamw has no key 'lrr', did you mean 'lr'?
local d = require "dowel"
local function opt(rate)
  return d.adamw { lrr = rate }
end
local o = opt(1)
