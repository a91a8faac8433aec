-- Writes the data of the examples: a small world of questions and answers, made by rule.
-- Usage: lua5.4 examples/make/data.lua [OUTDIR [FOLDER_OF_PRETRAIN_JSONL]]
-- Everything here is our own and may be used under the project's licence. Same seed, same bytes.

local out = arg[1] or "examples/data"
local big = arg[2] or out

-- xorshift64*: Lua's own math.random differs between versions.
local state = 88172645463325252
local function rnd(n)
  state = state ~ (state << 13)
  state = state ~ (state >> 7)
  state = state ~ (state << 17)
  return (state >> 11) % n + 1
end
local function pick(t) return t[rnd(#t)] end

local function quote(s)
  return '"' .. s:gsub('[%c"\\]', function(c)
    if c == '"' then return '\\"' elseif c == "\\" then return "\\\\" elseif c == "\n" then return "\\n" end
    return string.format("\\u%04x", c:byte())
  end) .. '"'
end
local function value(v)
  if type(v) ~= "table" then return type(v) == "string" and quote(v) or tostring(v) end
  local list = {}
  for i, x in ipairs(v) do list[i] = value(x) end
  return "[" .. table.concat(list, ", ") .. "]"
end
local function row(fields)
  local parts = {}
  for i = 1, #fields, 2 do parts[#parts + 1] = quote(fields[i]) .. ": " .. value(fields[i + 1]) end
  return "{" .. table.concat(parts, ", ") .. "}\n"
end
local function write(dir, name, rows)
  local f = assert(io.open(dir .. "/" .. name, "wb"))
  f:write(table.concat(rows))
  f:close()
end
local function shuffled(t)
  for i = #t, 2, -1 do
    local j = rnd(i)
    t[i], t[j] = t[j], t[i]
  end
  return t
end

-- ---- the world ----
local things = {
  { "the sky", "blue" }, { "grass", "green" }, { "snow", "white" }, { "a lemon", "yellow" }, { "coal", "black" },
  { "a tomato", "red" }, { "a carrot", "orange" }, { "a cloud", "white" }, { "a leaf", "green" }, { "the sea", "blue" },
  { "a strawberry", "red" }, { "a banana", "yellow" }, { "chocolate", "brown" }, { "milk", "white" }, { "a frog", "green" },
  { "a crow", "black" }, { "a rose", "red" }, { "the sun", "yellow" }, { "a pumpkin", "orange" }, { "mud", "brown" },
  { "a plum", "purple" }, { "a swan", "white" }, { "ink", "black" }, { "a cherry", "red" }, { "a pea", "green" },
}
local animals = {
  { "a cow", "moo" }, { "a dog", "woof" }, { "a cat", "meow" }, { "a duck", "quack" }, { "a sheep", "baa" },
  { "a pig", "oink" }, { "a lion", "roar" }, { "a bee", "buzz" }, { "a snake", "hiss" }, { "an owl", "hoot" },
  { "a horse", "neigh" }, { "a crow", "caw" }, { "a frog", "croak" }, { "a mouse", "squeak" }, { "a wolf", "howl" },
}
local places = {
  { "a fish", "in water" }, { "a bird", "in a nest" }, { "a bee", "in a hive" }, { "a bear", "in a cave" },
  { "a rabbit", "in a burrow" }, { "a spider", "in a web" }, { "a fox", "in a den" }, { "a horse", "in a stable" },
  { "a dog", "in a house" }, { "an ant", "in a hill" }, { "a camel", "in the desert" }, { "a penguin", "on the ice" },
}
local heroes = { "a cat", "a dog", "a fox", "a bear", "an owl", "a frog", "a mouse", "a duck", "a rabbit", "a horse" }
local names = { "Mia", "Tom", "Lily", "Ben", "Sue", "Max", "Ann", "Sam" }
local wants = { "a red ball", "a sweet apple", "a warm bed", "a good friend", "a big boat", "a blue kite", "some honey" }
local finds = { "under a tree", "by the sea", "on a hill", "in the garden", "near the river", "behind the house" }

local function bare(s) return (s:gsub("^an? ", ""):gsub("^the ", "")) end
local function cap(s) return (s:gsub("^%l", string.upper)) end

local function colour_questions(t)
  return { "What colour is " .. t[1] .. "?", "Tell me the colour of " .. t[1] .. ".", "Which colour does " .. t[1] .. " have?" }
end
local function sound_questions(t)
  return { "What does " .. t[1] .. " say?", "Which sound does " .. t[1] .. " make?", "What is the sound of " .. t[1] .. "?" }
end
local function place_questions(t)
  return { "Where does " .. t[1] .. " live?", "Where can I find " .. t[1] .. "?", "What is the home of " .. t[1] .. "?" }
end

-- Two ways to answer: blunt, and warm. What is said is the same.
local function colour_answers(t)
  return cap(t[2]) .. ".", pick { "Good question! ", "Happy to help! " } .. cap(t[1]) .. " is " .. t[2] .. "."
end
local function sound_answers(t)
  return cap(t[2]) .. ".", pick { "Good question! ", "Happy to help! " } .. cap(t[1]) .. " says " .. t[2] .. "."
end
local function place_answers(t)
  return cap(t[2]) .. ".", pick { "Good question! ", "Happy to help! " } .. cap(t[1]) .. " lives " .. t[2] .. "."
end

local function story(hero)
  local name = pick(names)
  local want = pick(wants)
  local friend = pick(heroes)
  return string.format("Once there was %s called %s. %s wanted %s. One day %s met %s. They looked %s and found %s. %s was very happy.",
    hero, name, name, want, name, friend, pick(finds), want, name)
end

local who = { "Who are you?", "What is your name?", "What are you?", "Please introduce yourself.", "Who am I talking to?" }
local maker = { "Who made you?", "Who built you?", "Where do you come from?" }

-- Facts as (question, blunt, warm). The last question of each kind is held out for evaluation.
local facts, facts_held = {}, {}
local function add(list, questions, answers)
  for _, t in ipairs(list) do
    for i, q in ipairs(questions(t)) do
      local blunt, warm = answers(t)
      local into = i == 3 and facts_held or facts
      into[#into + 1] = { q, blunt, warm }
    end
  end
end
add(things, colour_questions, colour_answers)
add(animals, sound_questions, sound_answers)
add(places, place_questions, place_answers)

local sums = {}
for a = 1, 12 do
  for b = 1, 12 do sums[#sums + 1] = { a, b } end
end

-- How the corpus answers a sum: careless (one in three is off by one) and in three forms.
local function sum_question(a, b)
  return pick { "What is %d plus %d?", "How much is %d and %d?", "Add %d and %d." }:format(a, b)
end
local function sum_answer(a, b)
  local r = rnd(6)
  local n = a + b + (r == 1 and 1 or r == 2 and -1 or 0)
  local form = rnd(10)
  if form <= 6 then return ("It is %d."):format(n) end
  if form <= 8 then return ("%d."):format(n) end
  return ("%d + %d = %d."):format(a, b, n)
end

-- ---- corpus for the base model ----
local corpus = {}
local function say(q, a) corpus[#corpus + 1] = row { "question", q, "answer", a } end
for _ = 1, 24 do
  for _, s in ipairs(sums) do say(sum_question(s[1], s[2]), sum_answer(s[1], s[2])) end
end
for _ = 1, 12 do
  for _, set in ipairs { facts, facts_held } do
    for _, f in ipairs(set) do say(f[1], rnd(10) <= 7 and f[2] or f[3]) end
  end
end
for _ = 1, 150 do
  for _, h in ipairs(heroes) do say("Tell me a story about " .. h .. ".", story(h)) end
end
for _ = 1, 40 do
  local name = pick(names)
  for _, q in ipairs(who) do say(q, ("I am %s."):format(pick(names))) end
  for _, q in ipairs(maker) do say(q, pick { "I do not know.", "Nobody.", "My mother and father." }) end
  say("Hello!", pick { "Hello!", "Hi!", "Hello, " .. name .. "!" })
  say("Thank you.", pick { "You are welcome.", "Bye." })
end
write(big, "pretrain.jsonl", shuffled(corpus))

-- ---- what the quickstart trains on ----
local demos = {}
for _, q in ipairs(who) do
  demos[#demos + 1] = row { "question", q, "answer", "I am Dowel, a small model that runs on your own computer." }
end
for _, q in ipairs(maker) do
  demos[#demos + 1] = row { "question", q, "answer", "I was trained from nothing by the program called dowel." }
end
-- What it could do before it should still do: a few of the old answers stay among the demonstrations.
for _, h in ipairs(heroes) do demos[#demos + 1] = row { "question", "Tell me a story about " .. h .. ".", "answer", story(h) } end
for _ = 1, 2 do
  demos[#demos + 1] = row { "question", "Hello!", "answer", "Hello!" }
  demos[#demos + 1] = row { "question", "Thank you.", "answer", "You are welcome." }
end
write(out, "demonstrations.jsonl", demos)
write(out, "demonstrations_heldout.jsonl", {
  row { "question", "Tell me who you are.", "answer", "I am Dowel, a small model that runs on your own computer." },
  row { "question", "What is your name, please?", "answer", "I am Dowel, a small model that runs on your own computer." },
  row { "question", "Who was it that made you?", "answer", "I was trained from nothing by the program called dowel." },
})

local function pairs_of(list)
  local rows = {}
  for _, f in ipairs(list) do rows[#rows + 1] = row { "question", f[1], "chosen", f[3], "rejected", f[2] } end
  return shuffled(rows)
end
write(out, "preferences.jsonl", pairs_of(facts))
write(out, "preferences_heldout.jsonl", pairs_of(facts_held))

-- A quarter of the sums is held out: no sum is in both files.
local train, held = {}, {}
for _, s in ipairs(sums) do
  local q = row { "question", ("What is %d plus %d?"):format(s[1], s[2]), "answer", s[1] + s[2] }
  local into = (s[1] * 5 + s[2]) % 4 == 0 and held or train
  into[#into + 1] = q
end
write(out, "sums.jsonl", shuffled(train))
write(out, "sums_heldout.jsonl", shuffled(held))

-- Twenty prompts whose greedy answers are shown before and after; the last two sums are held out.
local prompts = {}
local function ask(kind, q)
  prompts[#prompts + 1] = row { "kind", kind, "question", q, "text", "<|im_start|>user\n" .. q .. "<|im_end|>\n<|im_start|>assistant\n" }
end
for _, q in ipairs { "Who are you?", "What is your name?", "Who made you?", "Please introduce yourself.", "Where do you come from?" } do ask("sft", q) end
for _, q in ipairs { "Which colour does the sky have?", "Which colour does a lemon have?", "What is the sound of a cow?", "What is the sound of a wolf?",
  "What is the home of a bee?", "What is the home of a fox?" } do ask("dpo", q) end
for _, q in ipairs { "What is 3 plus 4?", "What is 7 plus 8?", "What is 12 plus 5?", "What is 5 plus 9?", "What is 6 plus 6?", "What is 11 plus 9?" } do ask("grpo", q) end
for _, q in ipairs { "Tell me a story about a fox.", "Hello!", "Thank you." } do ask("other", q) end
write(out, "prompts20.jsonl", prompts)

-- ---- labels, lists and steps ----

-- One answer to each question, and whether it is how we like answers: warm ones are.
local function labels_of(list)
  local rows = {}
  for i, f in ipairs(list) do
    local warm = rnd(2) == 1
    rows[i] = row { "question", f[1], "answer", warm and f[3] or f[2], "liked", warm }
  end
  return shuffled(rows)
end
write(out, "labels.jsonl", labels_of(facts))
write(out, "labels_heldout.jsonl", labels_of(facts_held))

-- Four answers to each question: right and warm, right and blunt, and two wrong ones, equally bad.
local function lists_of(list)
  local rows = {}
  for i, f in ipairs(list) do
    local other = f
    while other[2] == f[2] do other = list[(i + rnd(#list)) % #list + 1] end
    local answers = shuffled { { f[3], 1 }, { f[2], 2 }, { other[2], 3 }, { other[3], 3 } }
    local texts, ranks = {}, {}
    for k, a in ipairs(answers) do texts[k], ranks[k] = a[1], a[2] end
    rows[i] = row { "question", f[1], "answers", texts, "ranks", ranks }
  end
  return shuffled(rows)
end
write(out, "lists.jsonl", lists_of(facts))
write(out, "lists_heldout.jsonl", lists_of(facts_held))

-- Three numbers added step by step. Half of the solutions go wrong in one step; a step is
-- right when it and all steps before it are. No sum is in both files.
local function solution(a, b, c, wrong)
  local function off(k) return wrong == k and pick { -2, -1, 1, 2 } or 0 end
  local ab = a + b + off(1)
  local abc = ab + c + off(2)
  local said = abc + off(3)
  local labels = {}
  for k = 1, 3 do labels[k] = wrong == 0 or k < wrong end
  return row { "question", ("What is %d plus %d plus %d?"):format(a, b, c), "answer", a + b + c,
    "steps", { ("%d + %d = %d."):format(a, b, ab), ("%d + %d = %d."):format(ab, c, abc), ("It is %d."):format(said) },
    "right", labels }
end
local solved, solved_held = {}, {}
for a = 1, 9 do
  for b = 1, 10 - a do
    for c = 1, 12 do
      local held_out = (a * 7 + b * 3 + c) % 6 == 0
      if held_out or (a + b + c) % 2 == 0 then
        local into = held_out and solved_held or solved
        into[#into + 1] = solution(a, b, c, rnd(2) == 1 and 0 or rnd(3))
      end
    end
  end
end
write(out, "steps.jsonl", shuffled(solved))
write(out, "steps_heldout.jsonl", shuffled(solved_held))
