-- Runs the recipes of tests/golden/loop and compares metrics, samples and every trained tensor with
-- what PyTorch made of them: lua5.4 check_loop.lua DOWEL FOLDER [OPTIONS of dowel run]
local dowel, folder = arg[1], arg[2]
local run = os.tmpname()
os.remove(run)

local function slurp(path)
  local f = assert(io.open(path, "rb"))
  local text = f:read("a")
  f:close()
  return text
end

-- JSON, as far as our own files need it.
local function decode(text)
  local at, value = 1, nil
  local function skip() at = text:find("%S", at) or #text + 1 end
  local function str()
    local s = {}
    at = at + 1
    while text:byte(at) ~= 34 do
      local c = text:sub(at, at)
      if c ~= "\\" then s[#s + 1], at = c, at + 1
      elseif text:sub(at + 1, at + 1) == "u" then
        s[#s + 1], at = utf8.char(tonumber(text:sub(at + 2, at + 5), 16)), at + 6
      else
        local e = text:sub(at + 1, at + 1)
        s[#s + 1], at = ({ n = "\n", t = "\t", r = "\r", b = "\b", f = "\f" })[e] or e, at + 2
      end
    end
    at = at + 1
    return table.concat(s)
  end
  local function list(close, item)
    local out = {}
    at = at + 1
    skip()
    while text:sub(at, at) ~= close do
      item(out)
      skip()
      if text:sub(at, at) == "," then at = at + 1 skip() end
    end
    at = at + 1
    return out
  end
  function value()
    skip()
    local c = text:sub(at, at)
    if c == '"' then return str() end
    if c == "[" then return list("]", function(t) t[#t + 1] = value() end) end
    if c == "{" then
      return list("}", function(t)
        local k = str()
        skip()
        at = at + 1
        t[k] = value()
      end)
    end
    local word = text:match("^[%w.+-]+", at)
    at = at + #word
    return tonumber(word) -- null, true and false are nothing here
  end
  return value()
end

local function lines(path)
  local out = {}
  for line in io.lines(path) do out[#out + 1] = decode(line) end
  return out
end

-- name -> list of numbers
local function tensors(path)
  local text, out = slurp(path), {}
  local n = string.unpack("<I8", text)
  for name, t in pairs(decode(text:sub(9, 8 + n))) do
    if name ~= "__metadata__" then
      local from, to, x = t.data_offsets[1] + n + 9, t.data_offsets[2] + n + 8, {}
      if t.dtype == "F32" then
        for i = from, to, 4 do x[#x + 1] = string.unpack("<f", text, i) end
      else
        assert(t.dtype == "BF16")
        for i = from, to, 2 do x[#x + 1] = string.unpack("<f", "\0\0" .. text:sub(i, i + 1)) end
      end
      out[name] = x
    end
  end
  return out
end

local failed
local function check(ok, ...)
  if ok then return end
  failed = true
  print("# " .. string.format(...))
end

local function near(what, got, want, tolerance)
  check(got and math.abs(got - want) <= tolerance, "%s: %s, PyTorch has %.9g", what, got, want)
end

local start = tensors(folder .. "/model/model.safetensors")

local function check_update(path, want)
  local final = tensors(path)
  for name, w in pairs(want) do
    local square, c, s, size = 0, 0, 0, 0
    check(final[name], "%s is missing", name)
    for i, x in ipairs(final[name] or {}) do
      local u = x - start[name][i]
      size = size + x * x
      square, c, s = square + u * u, c + u * math.cos(i), s + u * math.sin(3 * (i - 1))
    end
    -- of the length of the update itself, not of the tensor; and float32's rounding of the tensor
    local tolerance = 1e-4 * w[1] + 2 ^ -23 * math.sqrt(size)
    near(name .. " length of the update", math.sqrt(square), w[1], tolerance)
    near(name .. " update along cos", c, w[2], tolerance)
    near(name .. " update along sin", s, w[3], tolerance)
  end
end

local function check_case(name, want)
  local out = run .. "-" .. name
  local ok = os.execute(string.format("'%s' run '%s/%s.lua' --quiet --out '%s' %s", dowel, folder, name, out,
    table.concat(arg, " ", 3)))
  check(ok, "the program failed")
  if not ok then return end
  local got = lines(out .. "/metrics.jsonl")
  check(#got == #want.steps, "%d steps", #got)
  for i, step in ipairs(want.steps) do
    for k, v in pairs(step) do
      near(k .. " of step " .. i, (got[i] or {})[k], v, math.max(1e-4 * math.abs(v), 2e-6))
    end
  end
  local samples = want.samples and lines(out .. "/samples.jsonl") or {}
  check(#samples == #(want.samples or {}), "%d samples", #samples)
  for i, s in ipairs(want.samples or {}) do
    check(samples[i].completion == s.completion, "answer %d is '%s', was '%s'", i,
      samples[i].completion, s.completion)
    near("reward " .. i, samples[i].reward, s.reward, 1e-12)
    near("advantage " .. i, samples[i].advantage, s.advantage, 1e-9)
  end
  check_update(out .. "/final/model.safetensors", want.update)
  os.execute(string.format("rm -r '%s'", out))
end

local expected = decode(slurp(folder .. "/expected.json"))
local names, any = { "sft", "dpo", "grpo" }, false
print("1.." .. #names)
for i, name in ipairs(names) do
  failed = false
  check_case(name, expected[name])
  any = any or failed
  print(string.format("%s %d - %s", failed and "not ok" or "ok", i, name))
end
os.exit(not any)
