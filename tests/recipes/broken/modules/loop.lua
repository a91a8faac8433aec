return require "modules.loop"
