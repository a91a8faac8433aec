-- expect 3: returns_string.lua: a recipe's file must end with `return d.recipe { ... }`, it returned a string
return "recipe"
