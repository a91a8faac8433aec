-- set: optimizer.lr.peak=0.5
-- set: seed=9
-- set: steps=2
-- set: objective.options.beta=0.7
-- set: model.adapter={"rank":8}
-- set: data.files=../files/prompts.jsonl
return require "dpo"
