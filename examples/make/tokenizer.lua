-- Learns a byte-level BPE vocabulary from the example corpus and writes a Hugging Face tokenizer.json.
-- Usage: lua5.4 examples/make/tokenizer.lua CORPUS.jsonl OUTDIR VOCABULARY_SIZE
-- The corpus is ASCII, so the GPT-2 pattern is a few lines of Lua here. Ties go to the pair that
-- sorts first, so the same corpus gives the same file.

local corpus, out, size = arg[1], arg[2], tonumber(arg[3])
local special = { "<|endoftext|>", "<|im_start|>", "<|im_end|>" }

-- GPT-2's map from bytes to printable characters.
local byte_char, extra = {}, 0
for b = 0, 255 do
  if (b >= 33 and b <= 126) or (b >= 161 and b <= 172) or b >= 174 then
    byte_char[b] = utf8.char(b)
  else
    byte_char[b] = utf8.char(256 + extra)
    extra = extra + 1
  end
end

-- Digits alone, then the GPT-2 pattern: contractions, " word", " 1", " ,.", spaces.
local contraction = { ["'s"] = 1, ["'t"] = 1, ["'m"] = 1, ["'d"] = 1, ["'re"] = 1, ["'ve"] = 1, ["'ll"] = 1 }
local function pieces(text, each)
  local i, n = 1, #text
  while i <= n do
    local j
    local c3, c2 = text:sub(i, i + 2), text:sub(i, i + 1)
    if contraction[c3] then j = i + 2
    elseif contraction[c2] then j = i + 1
    elseif text:match("^%d", i) then j = i
    else
      local _, e = text:find("^ ?%a+", i)
      if not e then _, e = text:find("^ ?[^%s%w]+", i) end
      if not e then
        _, e = text:find("^%s+", i)
        -- a run of spaces leaves its last one to the word that follows
        if e < n and e > i and not text:match("^%d", e + 1) then e = e - 1 end
      end
      j = e
    end
    each(text:sub(i, j))
    i = j + 1
  end
end

local count = {}
local function learn(text)
  pieces(text, function(p) count[p] = (count[p] or 0) + 1 end)
end
for line in io.lines(corpus) do
  local q, a = line:match('"question": "(.*)", "answer": "(.*)"}$')
  learn("user\n" .. q)
  learn("assistant\n" .. a)
end

local words = {}
for w, n in pairs(count) do
  local parts = {}
  for b in w:gmatch(".") do parts[#parts + 1] = byte_char[b:byte()] end
  words[#words + 1] = { text = w, n = n, parts = parts }
end
table.sort(words, function(x, y) return x.text < y.text end)

local vocab, id = {}, {}
local function token(t)
  id[t] = #vocab
  vocab[#vocab + 1] = t
end
for _, t in ipairs(special) do token(t) end
local alphabet = {}
for b = 0, 255 do alphabet[#alphabet + 1] = byte_char[b] end
table.sort(alphabet)
for _, c in ipairs(alphabet) do token(c) end

local merges = {}
while #vocab < size do
  local pair = {}
  for _, w in ipairs(words) do
    for i = 1, #w.parts - 1 do
      local key = w.parts[i] .. " " .. w.parts[i + 1]
      pair[key] = (pair[key] or 0) + w.n
    end
  end
  local best, most
  for key, n in pairs(pair) do
    if not best or n > most or (n == most and key < best) then best, most = key, n end
  end
  if not best or most < 2 then break end
  local a, b = best:match("^(%S+) (%S+)$")
  merges[#merges + 1] = best
  if not id[a .. b] then token(a .. b) end
  for _, w in ipairs(words) do
    local parts, i = {}, 1
    while i <= #w.parts do
      if w.parts[i] == a and w.parts[i + 1] == b then
        parts[#parts + 1] = a .. b
        i = i + 2
      else
        parts[#parts + 1] = w.parts[i]
        i = i + 1
      end
    end
    w.parts = parts
  end
end

local function quote(s) return '"' .. s:gsub('["\\]', "\\%0") .. '"' end
local f = assert(io.open(out .. "/tokenizer.json", "wb"))
f:write('{\n  "version": "1.0",\n  "truncation": null,\n  "padding": null,\n  "added_tokens": [\n')
for i, t in ipairs(special) do
  f:write(('    {"id": %d, "content": %s, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}%s\n')
    :format(i - 1, quote(t), i < #special and "," or ""))
end
f:write('  ],\n  "normalizer": null,\n  "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": true}, ',
  '{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}]},\n',
  '  "post_processor": null,\n  "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},\n',
  '  "model": {\n    "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null, "end_of_word_suffix": null,\n',
  '    "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,\n    "vocab": {\n')
for i, t in ipairs(vocab) do f:write("      ", quote(t), ": ", i - 1, i < #vocab and ",\n" or "\n") end
f:write('    },\n    "merges": [\n')
for i, m in ipairs(merges) do f:write("      ", quote(m), i < #merges and ",\n" or "\n") end
f:write("    ]\n  }\n}\n")
f:close()
print(#vocab .. " tokens, " .. #merges .. " merges")
