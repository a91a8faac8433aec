/* A plugin without faults, in pieces: each source of this folder replaces one of them. */
#ifndef BAD_H
#define BAD_H

#include <dowel/plugin.h>

#define UNUSED __attribute__((unused))

struct opts {
    double rate;
    int64_t count;
    const char *text;
};

UNUSED static dowel_status good_score(void *self, const dowel_sample *const *in, uint32_t n,
                                      dowel_scores *out, dowel_err *err)
{
    (void)self, (void)in, (void)err;
    for (uint32_t i = 0; i < n; i++)
        out->total[i] = 1;
    return DOWEL_OK;
}

UNUSED static dowel_status good_observe(void *self, dowel_request *ask, dowel_err *err)
{
    (void)self, (void)err;
    ask->columns = DOWEL_BIT(DOWEL_LOGP);
    return DOWEL_OK;
}

UNUSED static dowel_status good_loss(void *self, const dowel_batch *in, double *loss,
                                     dowel_err *err)
{
    (void)self, (void)in, (void)err;
    *loss += 1;
    return DOWEL_OK;
}

UNUSED static const dowel_reward good_reward = {.size = sizeof good_reward, .score = good_score};

/* A module whose only plugin is a reward with this scoring function. */
#define REWARD(score_)                                                                             \
    static const dowel_reward reward = {.size = sizeof reward, .highest = 1, .score = score_};     \
    static const dowel_plugin plugin = {                                                           \
        DOWEL_PLUGIN("bad", "1.0.0", "A broken reward.", DOWEL_PURE), .reward = &reward};          \
    DOWEL_MODULE(&plugin)

/* The same for an objective. */
#define OBJECTIVE(observe_, loss_)                                                                 \
    static const dowel_objective objective = {                                                     \
        .size = sizeof objective, .feeds_on = DOWEL_TEXTS, .observe = observe_, .loss = loss_};    \
    static const dowel_plugin plugin = {                                                           \
        DOWEL_PLUGIN("bad", "1.0.0", "A broken objective.", DOWEL_PURE), .objective = &objective}; \
    DOWEL_MODULE(&plugin)

/* A good reward with this table of options. */
#define OPTIONS(table_)                                                                            \
    static const dowel_plugin plugin = {                                                           \
        DOWEL_PLUGIN("bad", "1.0.0", "A reward with broken options.", DOWEL_PURE),                 \
        DOWEL_OPTIONS(struct opts, table_), .reward = &good_reward};                               \
    DOWEL_MODULE(&plugin)

/* A module header written by hand around one good plugin. */
#define HEADER(magic_, major_, minor_, size_, n_, list_)                                           \
    UNUSED static const dowel_plugin plugin = {                                                    \
        DOWEL_PLUGIN("bad", "1.0.0", "A good reward.", DOWEL_PURE), .reward = &good_reward};       \
    UNUSED static const dowel_plugin *const plugins[] = {&plugin};                                 \
    DOWEL_EXPORT extern const dowel_module dowel_module_v1;                                        \
    const dowel_module dowel_module_v1 = {magic_, major_, minor_, size_, n_, list_}

#endif
