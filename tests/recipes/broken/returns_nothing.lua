-- expect 3: returns_nothing.lua: a recipe's file must end with `return d.recipe { ... }`, it returned nothing
local d = require "dowel"
local r = 1
