-- expect 3: module_name.lua:2: '../helpers' is not a module's name (words joined by dots)
local m = require "../helpers"
