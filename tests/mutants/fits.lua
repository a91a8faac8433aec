-- Every mutant's text still stands in its source, and the tests of its family exist: run.lua, which
-- builds them, is too long for each day.
--
--   lua5.4 tests/mutants/fits.lua SOURCE
local source = assert(arg[1], "usage: lua5.4 tests/mutants/fits.lua SOURCE")
local wrong = 0

local function read(path)
  local f = io.open(source .. path)
  local text = f and f:read("a")
  if f then f:close() end
  return text
end

local function need(good, what)
  if good then return end
  wrong = wrong + 1
  print("# " .. what)
end

for _, family in ipairs(dofile(source .. "/tests/mutants/list.lua")) do
  for _, test in ipairs(family.tests) do
    need(read("/tests/unit/plug/test_" .. test .. ".c"), "no tests/unit/plug/test_" .. test .. ".c")
  end
  for _, m in ipairs(family) do
    local text = read("/plugins/" .. m[1])
    need(text and text:find(m[2], 1, true), m[1] .. " holds no: " .. m[2])
  end
end
print("1..1")
print((wrong == 0 and "ok" or "not ok") .. " 1 - every mutant fits its source")
os.exit(wrong == 0)
