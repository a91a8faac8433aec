-- Do the tests notice? Changes one sign, normaliser, mask or bound of a plugin at a time, builds the
-- plugins it is in, and runs the unit tests of that family, then `dowel check`, until one objects.
--
--   lua5.4 tests/mutants/run.lua BUILD [WORD]     WORD: only mutants whose file or text has it
--
-- BUILD is a built tree. Exit code 1 when a mutant survived, or no longer fits its source.
local build, word = arg[1], arg[2]
if not build then
  io.stderr:write("usage: lua5.4 tests/mutants/run.lua BUILD [WORD]\n")
  os.exit(2)
end
local here = arg[0]:match("^(.*)/[^/]*$") or "."
local families = dofile(here .. "/list.lua")

local function capture(command)
  local pipe = assert(io.popen(command))
  local text = pipe:read("a")
  pipe:close()
  return (text:gsub("\n$", ""))
end

local function quiet(command)
  return (os.execute(command .. " >/dev/null 2>&1"))
end

local function read(path)
  local f = io.open(path)
  local text = f and f:read("a")
  if f then f:close() end
  return text
end

local function write(path, text)
  local f = assert(io.open(path, "w"))
  assert(f:write(text))
  f:close()
end

local source = capture('cd "' .. here .. '/../.." && pwd')
build = capture('cd "' .. build .. '" && pwd')
local room = capture("mktemp -d /tmp/dowel-mutants-XXXXXX")
local cc = os.getenv("CC") or "cc"

-- Every plugin, as "objective/dpo", and the files it is made of.
local function parts_of(path, seen)
  local text = read(source .. "/plugins/" .. path)
  if seen[path] or not text then return seen end
  seen[path] = true
  for name in text:gmatch('#include "([^"]+)"') do
    parts_of(name:match("([^/]+)$"), seen)
  end
  return seen
end

local plugins = {}
for path in capture('cd "' .. source .. '/plugins" && ls */*.c'):gmatch("[^\n]+") do
  plugins[#plugins + 1] = { name = path:match("([^/]+)%.c$"), path = path, parts = parts_of(path, {}) }
end

-- Copies, because a program in its build tree would find the build's own plugins as well.
local function prepare()
  assert(quiet(string.format('cp -r "%s/plugins" "%s/src" && mkdir "%s/so" "%s/bin"', source, room, room, room)))
  assert(quiet(string.format('cp "%s"/tests/unit/test_* "%s/core/dowel" "%s/bin/"', build, build, room)) or true)
  assert(quiet(string.format('cp "%s"/plugins/*.so "%s/so/"', build, room)), "the plugins are not built")
end

local function compile(p)
  return string.format(
    '%s -std=c11 -D_GNU_SOURCE -O1 -w -fPIC -shared -fvisibility=hidden -ffp-contract=off -I"%s/include" "%s/src/%s" -o "%s/so/%s.so" -lm',
    cc, source, room, p.path, room, p.name)
end

-- Two compilers at a time; false: one failed.
local function compile_all(list)
  for k = 1, #list, 2 do
    local two = compile(list[k])
    if list[k + 1] then two = string.format("{ %s & a=$!; %s; b=$?; wait $a && [ $b = 0 ]; }", two, compile(list[k + 1])) end
    if not quiet(two) then return false end
  end
  return true
end

local environment = string.format('DOWEL_PLUGIN_PATH="%s/so" XDG_DATA_HOME="%s" DOWEL_TESTS="%s/tests" ', room, room, source)

-- Who objects, or nil.
local function objector(family, affected)
  for _, test in ipairs(family.tests) do
    if not quiet(string.format('cd "%s" && %s timeout 120 bin/test_%s', room, environment, test)) then return "test_" .. test end
  end
  for _, p in ipairs(affected) do
    local out = capture(string.format('cd "%s" && %s bin/dowel check %s 2>/dev/null', room, environment, p.name))
    local test = out:match("not ok %d+ (%S+)")
    if test then return "dowel check " .. p.name .. ", " .. test end
  end
end

local function try(family, m)
  local file, old, new = m[1], m[2], m[3]
  local path = room .. "/src/" .. file
  local text = assert(read(path), file)
  local from, to = text:find(old, 1, true)
  if not from then return "stale", "its source has changed" end
  local affected = {}
  for _, p in ipairs(plugins) do
    if p.parts[file] then affected[#affected + 1] = p end
  end
  write(path, text:sub(1, from - 1) .. new .. text:sub(to + 1))
  local built = compile_all(affected)
  local who = built and objector(family, affected)
  write(path, text)
  for _, p in ipairs(affected) do
    assert(quiet(string.format('cp "%s/plugins/%s.so" "%s/so/"', build, p.name, room)))
  end
  if not built then return "stale", "it does not compile" end
  return who and "caught" or "survived", who or "nothing"
end

prepare()
local count, n = { caught = 0, survived = 0, stale = 0 }, 0
for _, family in ipairs(families) do
  for _, test in ipairs(family.tests) do
    assert(quiet(string.format('cd "%s" && %s bin/test_%s', room, environment, test)), "test_" .. test .. " fails without a mutant")
  end
  for _, m in ipairs(family) do
    local title = string.format("%s: %s -> %s", m[1], m[2], m[3]):gsub("%s+", " ")
    if not word or title:find(word, 1, true) then
      local result, who = try(family, m)
      n = n + 1
      count[result] = count[result] + 1
      print(string.format("%s %d %s (%s)", result == "caught" and "ok" or "not ok", n, title, result == "caught" and who or result .. ": " .. who))
      io.stdout:flush()
    end
  end
end
print("1.." .. n)
print(string.format("# %d mutants: %d caught, %d survived, %d stale", n, count.caught, count.survived, count.stale))
quiet('rm -rf "' .. room .. '"')
os.exit(count.caught == n and n > 0)
