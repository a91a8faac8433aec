-- Counts single tests in Meson's log: TAP lines where a program prints them, else the program itself.
-- Prints the names of failures and "N passed, N failed"; exits 1 when any failed.
local passed, failed, skipped = 0, 0, 0
local name, result, ok, bad, skip

local function close()
  if not name then return end
  local good = result == "exit status 0"
  if result == "exit status 77" then
    skipped = skipped + 1
    print("skipped: " .. name)
  elseif ok + bad + skip == 0 then
    if good then passed = passed + 1 else failed = failed + 1; print("failed: " .. name .. " (" .. result .. ")") end
  else
    passed, failed, skipped = passed + ok, failed + bad, skipped + skip
    if not good and bad == 0 then
      failed = failed + 1
      print("failed: " .. name .. " (" .. result .. ")")
    end
  end
end

local f = io.open(arg[1])
if not f then
  print("no test log at " .. arg[1])
  print("0 passed, 1 failed")
  os.exit(1)
end
for line in f:lines() do
  local t = line:match("^test:%s+(%S+)")
  if t then
    close()
    name, result, ok, bad, skip = t, "no result", 0, 0, 0
  elseif name and result == "no result" and line:match("^result:") then
    result = line:match("^result:%s+(.*)")
  elseif name and line:match("^ok ") then
    if line:upper():find("# SKIP", 1, true) then
      skip = skip + 1
      print("skipped: " .. name .. " " .. line)
    else
      ok = ok + 1
    end
  elseif name and line:match("^not ok ") then
    bad = bad + 1
    print("failed: " .. name .. " " .. line)
  end
end
close()
if skipped > 0 then print(skipped .. " skipped") end
print(passed .. " passed, " .. failed .. " failed")
os.exit((failed == 0 and passed > 0) and 0 or 1)
