-- expect 3: no_module.lua:2: no module 'helpers' (looked for helpers.lua in the recipe's folder)
local m = require "helpers"
