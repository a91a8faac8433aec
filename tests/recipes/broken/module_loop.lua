-- expect 3: modules/loop.lua:1: module 'modules.loop' requires itself
return require "modules.loop"
