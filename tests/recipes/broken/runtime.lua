-- expect 3: runtime.lua:4: attempt to index a nil value (local 't')
local d = require "dowel"
local t = nil
return t.x
