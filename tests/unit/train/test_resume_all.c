/* Every objective that is shipped: a run stopped after every step ends with the same weights, bit
 * for bit, as one that was not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/hash.h"
#include "tiny.h"

typedef struct subject {
    const char *name, *task, *rest;
    const char *file; /* NULL: model.safetensors */
} subject;

#define TASK_(data, roles, plugin, options)                                                        \
    "\"main\":{\"data\":{" data "},\"rows\":3" roles                                               \
    ",\"objectives\":{\"o\":{\"plugin\":\"" plugin "\",\"weight\":1,\"options\":{" options "}}}}"
#define PAIRS(plugin, options)                                                                     \
    TASK_("\"type\":\"pairs\",\"files\":[\"DIR/gold.jsonl\"]", "", plugin, options)
#define LABELS(plugin, options)                                                                    \
    TASK_("\"type\":\"labels\",\"files\":[\"DIR/labels.jsonl\"]", "", plugin, options)
#define LISTS(plugin, options)                                                                     \
    TASK_("\"type\":\"lists\",\"files\":[\"DIR/lists.jsonl\"]", "", plugin, options)
#define STEPS(plugin, options)                                                                     \
    TASK_("\"type\":\"steps\",\"files\":[\"DIR/steps.jsonl\"]", "", plugin, options)
#define TEXTS(roles, plugin, options)                                                              \
    TASK_("\"type\":\"completions\",\"files\":[\"DIR/chats.jsonl\"]", roles, plugin, options)
#define ROLLED(roles, plugin, options)                                                             \
    TASK_("\"type\":\"prompts\",\"files\":[\"DIR/prompts.jsonl\"]",                                \
          ",\"rollout\":{\"samples\":3,\"max_tokens\":8},\"rewards\":{\"brief\":{\"weight\":1,"    \
          "\"plugin\":\"brevity\",\"options\":{\"budget\":2,\"slope\":0.05}}}" roles,              \
          plugin, options)
#define BY(estimator, options)                                                                     \
    ",\"estimator\":{\"plugin\":\"" estimator "\",\"options\":{" options "}}"
#define TEACHER ",\"models\":{\"old\":{\"path\":\"DIR/model\",\"init\":true}}"

static const subject subjects[] = {
    {"sft", TEXTS("", "sft", "\"label_smoothing\":0.1"), "", NULL},
    {"dft", TEXTS("", "sft", "\"dft\":true"), "", NULL},
    {"dpo ipo", PAIRS("dpo", "\"loss\":\"ipo\",\"sft\":0.1"), "", NULL},
    {"dpo wpo", PAIRS("dpo", "\"wpo\":true"), "", NULL},
    {"dpo aot", PAIRS("dpo", "\"loss\":\"aot\""), "", NULL},
    {"simpo", PAIRS("simpo", ""), "", NULL},
    {"alphapo", PAIRS("simpo", "\"alpha\":0.25"), "", NULL},
    {"cpo", PAIRS("cpo", ""), "", NULL},
    {"orpo", PAIRS("orpo", ""), "", NULL},
    {"slic", PAIRS("slic", ""), "", NULL},
    {"tpo", PAIRS("tpo", ""), "", NULL},
    {"kto", LABELS("kto", ""), "", NULL},
    {"bco", LABELS("bco", ""), "", NULL},
    {"dpo_list", LISTS("dpo_list", ""), "", NULL},
    {"reward", PAIRS("reward", "\"center\":0.01"), "", NULL},
    {"reward lists", LISTS("reward", "\"loss\":\"plackett_luce\""), "", NULL},
    {"prm", STEPS("prm", ""), "", NULL},
    {"prm one channel", STEPS("prm", "\"head\":\"one_channel\""), "", NULL},
    {"gkd", TEXTS(",\"teacher\":\"old\"", "gkd", "\"beta\":0.5"), TEACHER, NULL},
    {"grpo entropy",
     ROLLED("", "grpo",
            "\"entropy_bonus\":0.01,\"entropy_adaptive\":true,\"top_entropy\":0.5,\"kl\":0.1"),
     "", NULL},
    {"gspo", ROLLED("", "grpo", "\"loss\":\"gspo\""), "", NULL},
    {"rloo", ROLLED("", "rloo", ""), "", NULL},
    {"reinforce", ROLLED("", "reinforce", "\"baseline\":\"moving\""), "", NULL},
    {"reinforce++", ROLLED(BY("returns", "\"whiten\":true"), "reinforce", ""), "", NULL},
    {"group", ROLLED(BY("group", "\"kl\":0.1,\"kl_target\":0.5"), "grpo", ""), "", NULL},
    {"gae ppo",
     ROLLED(BY("gae", "\"kl\":0.1,\"kl_target\":0.5,\"normalize_rewards\":true"), "ppo", ""), "",
     NULL},
    {"ppo_lag", ROLLED("", "ppo_lag", "\"cost\":\"brief\""), "", NULL},
    {"raft", ROLLED(BY("best", ""), "sft", ""), "", NULL},
    {"online dpo", ROLLED(BY("pairing", ""), "dpo", ""), "", NULL},
    {"opd", ROLLED(",\"teacher\":\"old\"" BY("group", ""), "opd", ""), TEACHER, NULL},
    {"iw_opd", ROLLED(",\"teacher\":\"old\"" BY("group", ""), "iw_opd", ""), TEACHER, NULL},
    {"minillm", ROLLED(",\"teacher\":\"old\"" BY("group", ""), "minillm", ""), TEACHER, NULL},
    {"self_distill", ROLLED(",\"teacher\":\"old\"" BY("group", ""), "self_distill", ""), TEACHER,
     NULL},
    {"prime", ROLLED(BY("group", ""), "prime", "\"soft\":true"), "", NULL},
};

static void more_data(tiny *t)
{
    dw_buf gold = {0}, labels = {0}, lists = {0}, steps = {0};
    for (int i = 0; i < 9; i++) {
        dw_buf_printf(&gold,
                      "{\"prompt\":\"q%d?\",\"chosen\":\"yes %d\",\"rejected\":\"no, %d\","
                      "\"gold\":\"of course %d\"}\n",
                      i, i * 7, i, i);
        dw_buf_printf(&labels, "{\"prompt\":\"q%d?\",\"completion\":\"a%d\",\"label\":%s}\n", i,
                      i * 3, i % 2 ? "true" : "false");
        dw_buf_printf(&lists,
                      "{\"prompt\":\"q%d?\",\"completions\":[\"a%d\",\"bb%d\",\"c\"],\"ranks\":"
                      "[2,1,3]}\n",
                      i, i, i);
        dw_buf_printf(&steps,
                      "{\"prompt\":\"q%d?\",\"steps\":[\"a%d\",\"b\"],\"labels\":[true,%s]}\n", i,
                      i, i % 2 ? "true" : "0.3");
    }
    tiny_write(t, "gold.jsonl", gold.ptr);
    tiny_write(t, "labels.jsonl", labels.ptr);
    tiny_write(t, "lists.jsonl", lists.ptr);
    tiny_write(t, "steps.jsonl", steps.ptr);
    dw_buf_finish(&gold);
    dw_buf_finish(&labels);
    dw_buf_finish(&lists);
    dw_buf_finish(&steps);
}

static const char *hash_of(tiny *t, const char *file)
{
    char hex[65];
    dw_err err = {{0}};
    tiny_must(dw_sha256_file(dw_arena_printf(&t->arena, "%s/%s", t->dir, file), hex, &err), &err);
    return dw_arena_strdup(&t->arena, hex);
}

static void one(tiny *t, const subject *s)
{
    enum { STEPS_OF_RUN = 4 };
    dw_err err = {{0}};
    const char *whole = dw_arena_printf(&t->arena, "whole %s", s->name);
    const char *parts = dw_arena_printf(&t->arena, "parts %s", s->name);
    dw_plan *p = tiny_plan(t, s->task, "\"main\":1", s->rest);
    p->phase[0].steps = p->steps = STEPS_OF_RUN;
    dw_run_options o = tiny_options(t, whole, 0);
    if (dw_run(p, NULL, &o, &err) < 0)
        fail_msg("%s: %s", s->name, err.text);
    o = tiny_options(t, parts, 1);
    if (dw_run(p, NULL, &o, &err) != DW_E_SIGINT)
        fail_msg("%s: %s", s->name, err.text);
    for (o.stop_at = 2; o.stop_at < STEPS_OF_RUN; o.stop_at++)
        if (dw_run_resume(p, NULL, &o, &err) != DW_E_SIGINT)
            fail_msg("%s, step %d: %s", s->name, (int)o.stop_at, err.text);
    o.stop_at = 0;
    if (dw_run_resume(p, NULL, &o, &err) < 0)
        fail_msg("%s: %s", s->name, err.text);
    const char *file = s->file ? s->file : "model.safetensors";
    const char *end = hash_of(t, dw_arena_printf(&t->arena, "%s/final/%s", whole, file));
    if (strcmp(end, hash_of(t, dw_arena_printf(&t->arena, "%s/final/%s", parts, file))) != 0)
        fail_msg("%s: the stopped run ends with other weights", s->name);
    if (!strcmp(end, hash_of(t, "saved/model.safetensors")))
        fail_msg("%s: nothing was trained", s->name);
    dw_plan_free(p);
}

static void all(void **state)
{
    tiny t = tiny_make();
    more_data(&t);
    for (size_t i = 0; i < sizeof subjects / sizeof *subjects; i++)
        one(&t, &subjects[i]);
    tiny_finish(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(all)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
