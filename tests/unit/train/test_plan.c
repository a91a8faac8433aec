/* Plans: defaults, a round trip through print, and the messages for broken ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "train/plan.h"

#define DATA            "\"data\":{\"type\":\"pairs\",\"files\":[\"/d/p.jsonl\"]}"
#define TASK            DATA ",\"objectives\":{\"dpo\":{\"plugin\":\"dpo\",\"options\":{\"beta\":0.1}}}"
#define MODEL           "\"dowel\":1,\"model\":{\"path\":\"/m\"}"
#define OPT             "\"optimizer\":{\"kind\":\"adamw\",\"lr\":1e-5}"
#define PHASES          "\"schedule\":[{\"steps\":5,\"weights\":{\"main\":1}}]"
#define PROMPTS         "\"data\":{\"type\":\"prompts\",\"files\":[\"/d/q.jsonl\"]}"
#define REWARDS         "\"rewards\":{\"m\":{\"plugin\":\"match\"}}"
#define GRPO            "\"objectives\":{\"grpo\":{\"plugin\":\"grpo\"}}"
#define WITH_TASK(task) "{" MODEL "," OPT "," PHASES ",\"tasks\":{\"main\":{" task "}}}"

static dw_status parse(const char *json, dw_plan **p, dw_err *err)
{
    dw_json *v;
    memset(err, 0, sizeof *err);
    if (dw_json_parse(json, strlen(json), 64, 1, &v, err) < 0)
        fail_msg("%s in %s", err->text, json);
    return dw_plan_parse(v, p, err);
}

static dw_plan *good(const char *json)
{
    dw_plan *p;
    dw_err err;
    if (parse(json, &p, &err) < 0)
        fail_msg("%s", err.text);
    return p;
}

static void refused(const char *json, const char *message)
{
    dw_plan *p;
    dw_err err;
    assert_int_equal(parse(json, &p, &err), DW_E_RECIPE);
    assert_null(p);
    assert_string_equal(err.text, message);
}

static void test_defaults(void **state)
{
    dw_plan *p = good(WITH_TASK(TASK));
    assert_string_equal(p->name, "run");
    assert_int_equal(p->steps, 5);
    assert_int_equal(p->task[0].rows, 8);
    assert_true(p->task[0].data.shuffle);
    assert_true(p->task[0].data.spec.add_eos);
    assert_null(p->task[0].rollout);
    assert_null(p->task[0].eval);
    assert_int_equal(p->micro_tokens, 4096);
    assert_int_equal(p->keep, 2);
    assert_false(p->model[0].has_lora);
    assert_true(p->optimizer.clip == 1.0 && p->optimizer.beta2 == 0.999);
    dw_plan_free(p);
}

static void test_print_is_a_fixed_point(void **state)
{
    dw_plan *p = good(
        "{\"dowel\":1,\"seed\":7,\"model\":{\"path\":\"/m\",\"adapter\":{\"rank\":4,\"targets\":"
        "[\"v\",\"q\"]}},\"optimizer\":{\"kind\":\"sgd\",\"lr\":{\"schedule\":\"cosine\",\"peak\":"
        "0.1,\"warmup\":3},\"momentum\":0.9},\"functions\":{\"f\":\"reward\",\"g\":\"row\"},"
        "\"schedule\":[{\"steps\":2,\"weights\":{\"b\":1}},{\"steps\":3,\"weights\":{\"a\":{"
        "\"schedule\":\"linear\",\"from\":0,\"to\":1},\"b\":0.5}}],\"tasks\":{\"b\":{" TASK
        "},\"a\":{\"data\":{\"type\":\"prompts\",\"files\":[\"/q\"],\"columns\":{\"prompt\":{"
        "\"lua\":\"g\"}}},\"rollout\":{\"stop\":[\"\\n\"]},\"rewards\":{\"z\":{\"lua\":\"f\","
        "\"weight\":-0.5},\"m\":{\"plugin\":\"match\",\"options\":{\"x\":null}}}," GRPO
        ",\"eval\":{" PROMPTS ",\"every\":4}}}}");
    assert_int_equal(p->steps, 5);
    assert_string_equal(p->task[0].name, "a");
    assert_string_equal(p->task[0].reward[0].name, "m");
    assert_string_equal(p->task[0].eval->metric, "reward");
    assert_true(p->task[0].eval->greater);
    assert_true(p->task[0].reward[1].weight == -0.5);
    assert_true(p->phase[0].weight[0].to == 0 && p->phase[0].weight[1].to == 1);
    assert_true(p->model[0].lora.targets == (DW_LORA_Q | DW_LORA_V) && p->model[0].lora.alpha == 8);
    dw_buf one = {0}, two = {0};
    dw_plan_print(p, &one);
    dw_plan *q = good(one.ptr);
    dw_plan_print(q, &two);
    assert_string_equal(one.ptr, two.ptr);
    dw_plan_free(p);
    dw_plan_free(q);
    dw_buf_finish(&one);
    dw_buf_finish(&two);
}

static void test_refused_root(void **state)
{
    refused("[]", "expected a table, got an array");
    refused("{\"dowel\":2}", "dowel: expected a whole number from 1 to 1, got 2");
    refused("{}", "dowel: missing: a plan starts with its version, 1");
    refused("{\"dowel\":1,\"sead\":1}", "no key 'sead' here, did you mean 'seed'?");
    refused("{\"dowel\":1,\"seed\":-1}",
            "seed: expected a whole number from 0 to 9007199254740992, got -1");
    refused("{\"dowel\":1,\"name\":\"a/b\"}",
            "name: 'a/b' holds more than letters, digits, '_', '-' and '.' (it names a folder)");
    refused("{\"dowel\":1}", "model: expected a table, got nothing");
    refused("{\"dowel\":1,\"model\":{\"path\":\"m\"}}", "model.path: 'm' is not an absolute path");
    refused("{\"dowel\":1,\"model\":{\"path\":\"/m\",\"adapter\":{\"targets\":[\"x\"]}}}",
            "model.adapter.targets: no matrix 'x' (there are q, k, v, o, gate, up, down; qkv, "
            "gate_up where they are one)");
    refused("{" MODEL "}", "tasks: expected a table of at least one task, got nothing");
    refused("{" MODEL ",\"tasks\":{\"steps\":{}}}",
            "tasks: 'steps' cannot name a task (a letter, then letters, digits, _ and -; not "
            "'steps' or 'epochs')");
    refused("{" MODEL ",\"tasks\":{\"main\":{" TASK "}}}",
            "schedule: expected a list of at least one phase, got nothing");
    refused("{" MODEL ",\"tasks\":{\"main\":{" TASK "}},\"schedule\":[{\"steps\":1,\"weights\":{"
            "\"mian\":1}}]}",
            "schedule.0.weights: no key 'mian' here, did you mean 'main'?");
    refused("{" MODEL ",\"tasks\":{\"main\":{" TASK "}},\"schedule\":[{\"steps\":1,\"weights\":{"
            "\"main\":-1}}]}",
            "schedule.0.weights.main: expected numbers from 0 up, got -1");
    refused("{" MODEL ",\"tasks\":{\"main\":{" TASK "}}," PHASES ",\"optimizer\":{\"lr\":\"1\"}}",
            "optimizer.lr: expected a number or a schedule, got a string");
    refused("{" MODEL ",\"tasks\":{\"main\":{" TASK "}}," PHASES
            ",\"optimizer\":{\"lr\":1,\"betas\":[0.9,1]}}",
            "optimizer.betas: expected two numbers, each from 0 to less than 1");
    refused("{" MODEL "," OPT "," PHASES ",\"save_merged\":true,\"tasks\":{\"main\":{" TASK "}}}",
            "save_merged: there is no adapter to merge");
}

static void test_refused_tasks(void **state)
{
    refused(WITH_TASK(TASK ",\"rows\":0"),
            "tasks.main.rows: expected a whole number from 1 to 65536, got 0");
    refused(WITH_TASK(TASK ",\"rows\":\"8\""),
            "tasks.main.rows: expected a whole number, got a string");
    refused(WITH_TASK(DATA), "tasks.main.objectives: expected at least one objective");
    refused(WITH_TASK(PROMPTS "," GRPO),
            "tasks.main.rollout: missing: prompts have no answers, so they need one");
    refused(WITH_TASK(TASK ",\"rollout\":{}"),
            "tasks.main.rollout: a rollout starts from prompts, but the data is pairs");
    refused(WITH_TASK(PROMPTS "," GRPO ",\"rollout\":{\"dynamic\":{}}"),
            "tasks.main.rollout: dynamic compares rewards, and this task has none");
    refused(WITH_TASK(PROMPTS "," GRPO ",\"rollout\":{\"demonstrate\":{}}"),
            "tasks.main.rollout.demonstrate.prompt: missing: a format or a function of the row, "
            "with 'demonstration' in it, that the teacher reads");
    refused(WITH_TASK(PROMPTS "," GRPO "," REWARDS ",\"rollout\":{\"demonstrate\":{\"prompt\":"
                              "{\"format\":\"{demonstration}\"},\"part\":\"none\"}}"),
            "tasks.main.rollout: demonstrate.part: no reward 'none' in this task");
    refused(WITH_TASK(TASK "," REWARDS),
            "tasks.main.rewards: rewards score a rollout, and this task has none");
    refused(WITH_TASK(PROMPTS "," GRPO "," REWARDS ",\"rollout\":{\"temperature\":0}"),
            "tasks.main.rollout.temperature: expected a number from 0.01 to 100, got 0");
    refused(WITH_TASK(PROMPTS "," GRPO ",\"rollout\":{},\"rewards\":{\"r\":{\"lua\":\"f\"}}"),
            "tasks.main.rewards.r.lua: no function 'f' in 'functions'");
    refused(WITH_TASK(TASK ",\"eval\":{" PROMPTS "}"),
            "tasks.main.eval.data: expected pairs as in the task's own data, got prompts");
    refused(WITH_TASK("\"data\":{\"type\":\"pairz\"}"),
            "tasks.main.data.type: expected one of 'texts', 'completions', 'pairs', 'prompts', "
            "'labels', 'steps', 'lists', got "
            "'pairz', did you mean 'pairs'?");
    refused(WITH_TASK("\"data\":{\"type\":\"texts\",\"files\":[\"/a\"],\"columns\":{\"text\":{"
                      "\"format\":\"{a} {\"}}}"),
            "tasks.main.data.columns.text: format '{a} {' has a '{' without a field's name (write "
            "{{ for one)");
    refused(WITH_TASK("\"data\":{\"type\":\"texts\",\"files\":[\"/a\"],\"split_marker\":\"x\"}"),
            "tasks.main.data.split_marker: only pairs are split, this data is texts");
    refused(WITH_TASK("\"data\":{\"type\":\"lists\",\"files\":[\"/a\"],\"separator\":\"x\"}"),
            "tasks.main.data.separator: only steps have one, this data is lists");
    refused(WITH_TASK("\"data\":{\"type\":\"lists\",\"files\":[\"/a\"],\"columns\":{\"ranks\":{"
                      "\"field\":\"a\"},\"scores\":{\"field\":\"b\"}}}"),
            "tasks.main.data.columns: lists are ordered by 'ranks' or by 'scores', not by both");
}

#define WITH_MODELS(task, models)                                                                  \
    "{" MODEL "," OPT "," PHASES ",\"models\":{" models "},\"tasks\":{\"main\":{" TASK task "}}}"
#define CRITIC "\"critic\":{\"path\":\"/c\"}"

static void test_models(void **state)
{
    dw_plan *p = good(WITH_MODELS(
        ",\"critic\":\"critic\",\"teacher\":\"self\",\"teacher_update\":{},"
        "\"reference\":\"old\"",
        "\"old\":{\"path\":\"/o\"},\"critic\":{\"path\":\"/c\",\"freeze\":[[0,9],[20,30]],"
        "\"optimizer\":{\"lr\":0.5,\"clip\":0}}"));
    assert_int_equal(p->n_model, 3);
    const dw_plan_model *c = &p->model[1];
    assert_string_equal(c->name, "critic");
    assert_true(c->trains && c->own_optimizer && c->optimizer.lr.from == 0.5);
    assert_true(c->n_freeze == 2 && c->freeze[1][0] == 20 && c->freeze[1][1] == 30);
    assert_true(!p->model[2].trains && p->model[2].optimizer.lr.from == 1e-5);
    const dw_plan_task *t = &p->task[0];
    assert_true(t->model == 0 && t->critic == 1 && t->reference == 2);
    assert_int_equal(t->teacher, DW_MODEL_SELF);
    assert_true(t->teacher_update.kind == DW_UPDATE_MIX && t->teacher_update.alpha == 0.05);
    assert_true(t->teacher_update.every == 1 && t->reference_update.kind == DW_UPDATE_NONE);
    dw_buf one = {0}, two = {0};
    dw_plan_print(p, &one);
    dw_plan *q = good(one.ptr);
    dw_plan_print(q, &two);
    assert_string_equal(one.ptr, two.ptr);
    dw_plan_free(p);
    dw_plan_free(q);
    dw_buf_finish(&one);
    dw_buf_finish(&two);
}

static void test_refused_models(void **state)
{
    refused(WITH_MODELS(",\"critic\":\"critc\"", CRITIC),
            "tasks.main.critic: no model 'critc' in 'models', did you mean 'critic'?");
    refused(WITH_MODELS(",\"teacher\":\"zebra\"", ""),
            "tasks.main.teacher: no model 'zebra' (this plan has one model, 'policy')");
    refused(WITH_MODELS("", CRITIC), "models.critic: no task uses this model");
    refused(WITH_MODELS(",\"model\":\"critic\"", CRITIC), "model: no task uses this model");
    refused(WITH_MODELS(",\"critic\":\"critic\"", "\"critic\":{\"path\":\"/c\",\"trains\":false}"),
            "models.critic.trains: task 'main' trains this model");
    refused(WITH_MODELS(",\"teacher\":\"big\"", "\"big\":{\"path\":\"/b\",\"trains\":true}"),
            "models.big.trains: no task trains this model: none names it as its model or critic");
    refused(WITH_MODELS(",\"teacher\":\"big\"", "\"big\":{\"path\":\"/b\",\"adapter\":{}}"),
            "models.big.adapter: nothing trains this model");
    refused(WITH_MODELS(",\"teacher\":\"big\"", "\"big\":{\"path\":\"/b\",\"freeze\":[[0,1]]}"),
            "models.big.freeze: nothing trains this model");
    refused(
        WITH_MODELS(",\"critic\":\"critic\",\"reference\":\"critic\"", CRITIC),
        "tasks.main.reference: 'critic' is trained by task 'main', and a reference stands still "
        "(null is the start of the task's own model)");
    refused(WITH_MODELS("", "\"policy\":{\"path\":\"/c\"}"),
            "models: 'policy' cannot name a model (a letter, then letters, digits, _ and -; not "
            "'policy', which is 'model', nor 'self' or 'ema')");
    refused(
        WITH_MODELS(",\"critic\":\"critic\"", "\"critic\":{\"path\":\"/c\",\"freeze\":[[5,5]]}"),
        "models.critic.freeze: expected ranges of steps [from, to), whole numbers with 0 <= from "
        "< to, as in [[0, 100]]");
    refused(WITH_MODELS(",\"reference_update\":{\"kind\":\"bema\",\"alpha\":1}", ""),
            "tasks.main.reference_update.alpha: belongs to the kind 'mix'");
    refused(
        WITH_MODELS(",\"reference\":\"big\",\"reference_update\":{}", "\"big\":{\"path\":\"/b\"}"),
        "tasks.main.reference_update: only the start of the task's model can follow it, not a "
        "reference with a name");
    refused(WITH_MODELS(",\"teacher_update\":{}", ""),
            "tasks.main.teacher_update: only the teacher \"self\" follows the task's model");
    refused(
        "{\"dowel\":1,\"model\":{\"path\":\"/m\",\"adapter\":{}}," OPT "," PHASES
        ",\"tasks\":{\"main\":{" TASK ",\"reference_update\":{}}}}",
        "tasks.main.reference_update: not with an adapter: the average of its two factors is not "
        "the average of the adapter; train the model in full");
    refused(WITH_TASK(PROMPTS "," GRPO ",\"rollout\":{},\"rewards\":{\"r\":{\"model\":\"rm\"}}"),
            "tasks.main.rewards.r.model: no model 'rm' (this plan has one model, 'policy')");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),     cmocka_unit_test(test_print_is_a_fixed_point),
        cmocka_unit_test(test_refused_root), cmocka_unit_test(test_refused_tasks),
        cmocka_unit_test(test_models),       cmocka_unit_test(test_refused_models),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
