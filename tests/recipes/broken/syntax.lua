-- expect 3: syntax.lua:4: unexpected symbol near '='
local d = require "dowel"
return d.recipe {
  steps = = 4
}
