-- Data flows one way: a file may include headers of its own layer and of layers to its left. Also:
-- one folder per library header, files of at most 600 lines, one sentence on top of every .c file,
-- no path of one machine anywhere.
local root = arg[1]
local rank = {}
for i, l in ipairs { "base", "text", "tensor", "model", "data", "plug", "train", "script", "cli" } do rank[l] = i end
local owner = {
  ["dlfcn.h"] = "^core/plug/", ["lua.h"] = "^core/script/", ["lauxlib.h"] = "^core/script/", ["lualib.h"] = "^core/script/",
  ["cjson/cJSON.h"] = "^core/base/json", ["cJSON.h"] = "^core/base/json", ["cblas.h"] = "^core/tensor/gemm",
  ["gcrypt.h"] = "^core/base/hash", ["pcre2.h"] = "^core/text/", ["utf8proc.h"] = "^core/text/",
}
local problems, files = {}, 0
local function complain(fmt, ...) problems[#problems + 1] = fmt:format(...) end

local function list(pattern)
  local out = {}
  local p = assert(io.popen(("cd '%s' && find core include plugins tests scripts examples -type f %s | LC_ALL=C sort"):format(root, pattern)))
  for l in p:lines() do out[#out + 1] = l end
  p:close()
  return out
end

for _, path in ipairs(list("\\( -name '*.c' -o -name '*.h' \\)")) do
  files = files + 1
  local layer = path:match("^core/(%w+)/")
  local n, first = 0, nil
  for line in io.lines(root .. "/" .. path) do
    n = n + 1
    first = first or line
    local inc = line:match('^%s*#%s*include%s*[<"]([^>"]+)[>"]')
    if inc then
      local from = inc:match("^(%w+)/")
      if layer and from and rank[from] and rank[from] > rank[layer] then
        complain("%s:%d: %s/ includes %s from the right", path, n, layer, inc)
      end
      local must = owner[inc]
      if must and not path:match(must) and path:match("^core/") then
        complain("%s:%d: only %s may include %s", path, n, must:gsub("[%^]", ""), inc)
      end
      if path:match("^plugins/") and from and rank[from] then complain("%s:%d: a plugin includes %s of the core", path, n, inc) end
    end
  end
  if path:match("%.c$") and n > 600 then complain("%s: %d lines, at most 600", path, n) end
  if path:match("^core/.*%.h$") and n > 200 then complain("%s: %d lines, at most 200", path, n) end
  if path:match("%.c$") and not (first and first:match("^/%*")) then complain("%s: does not start with a sentence on what it is for", path) end
end

for _, path in ipairs(list("-size -300k")) do
  local f = assert(io.open(root .. "/" .. path, "rb"))
  local text = f:read("a")
  f:close()
  for _, bad in ipairs { "/wo" .. "rk/", "/ho" .. "me/", "/ro" .. "ot/" } do
    if text:find("[^%w_}]" .. bad) then complain("%s: holds the path of one machine (%s)", path, bad) end
  end
end

for _, p in ipairs(problems) do print("# " .. p) end
print("1..1")
print((#problems == 0 and files > 0) and "ok 1 - layers, owners, lengths, paths" or "not ok 1 - layers, owners, lengths, paths")
os.exit((#problems == 0 and files > 0) and 0 or 1)
