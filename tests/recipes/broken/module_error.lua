-- expect 3: modules/faulty.lua:2: attempt to perform arithmetic on a nil value
local m = require "modules.faulty"
return m
