/* An objective without faults, in pieces: the negative log-likelihood of texts, with a mean that it
 * remembers. Each source of this folder breaks one promise. */
#ifndef PARTS_H
#define PARTS_H

#include <dowel/plugin.h>
#include <math.h>
#include <stdlib.h>

#define UNUSED __attribute__((unused))

UNUSED static dowel_status ask_logp(void *self, dowel_request *ask, dowel_err *err)
{
    (void)self, (void)err;
    ask->columns = DOWEL_BIT(DOWEL_LOGP);
    return DOWEL_OK;
}

/* -c w l for every counted token, and its derivative. */
UNUSED static void nll(const dowel_batch *in, double c, double *loss)
{
    for (uint32_t s = 0; s < in->n_seq; s++) {
        double w = c * dowel_x(in, DOWEL_WEIGHT)[s];
        *loss -= w * dowel_seq_sum(in, s, dowel_x(in, DOWEL_LOGP), NULL);
        dowel_seq_add(in, s, dowel_grad(in, DOWEL_LOGP), -w);
    }
}

struct memory {
    double seen, other;
};

UNUSED static dowel_status remember(const dowel_host *host, const void *config, void **self,
                                    dowel_err *err)
{
    (void)host, (void)config;
    *self = calloc(1, sizeof(struct memory));
    return *self ? DOWEL_OK : dowel_fail(err, DOWEL_E_NOMEM, "no memory");
}

UNUSED static void forget(void *self)
{
    free(self);
}

UNUSED static dowel_status save(void *self, dowel_sink *to, dowel_err *err)
{
    (void)err;
    return to->write(to, self, sizeof(struct memory));
}

UNUSED static dowel_status load(void *self, dowel_source *from, uint32_t version, dowel_err *err)
{
    struct memory m;
    (void)version;
    if (from->left != sizeof m || from->read(from, &m, sizeof m) < 0 || !(fabs(m.seen) < 1e6) ||
        !(fabs(m.other) < 1e6))
        return dowel_fail(err, DOWEL_E_STATE, "the saved state is damaged");
    *(struct memory *)self = m;
    return DOWEL_OK;
}

UNUSED static dowel_status count_step(void *self, uint64_t step, const double *tally,
                                      dowel_err *err)
{
    (void)step, (void)tally, (void)err;
    ((struct memory *)self)->seen += 1;
    return DOWEL_OK;
}

/* A module of one objective. */
#define STATELESS(observe_, loss_, flags_)                                                         \
    static const dowel_objective objective = {                                                     \
        .size = sizeof objective, .feeds_on = DOWEL_TEXTS, .observe = observe_, .loss = loss_};    \
    static const dowel_plugin plugin = {                                                           \
        DOWEL_PLUGIN("bad", "1.0.0", "A broken objective.", flags_), .objective = &objective};     \
    DOWEL_MODULE(&plugin)

#define STATEFUL(loss_, step_end_, save_, load_, destroy_)                                         \
    static const dowel_objective objective = {.size = sizeof objective,                            \
                                              .feeds_on = DOWEL_TEXTS,                             \
                                              .observe = ask_logp,                                 \
                                              .loss = loss_,                                       \
                                              .step_end = step_end_};                              \
    static const dowel_plugin plugin = {DOWEL_PLUGIN("bad", "1.0.0", "A broken objective.", 0),    \
                                        .state_version = 1,                                        \
                                        .create = remember,                                        \
                                        .destroy = destroy_,                                       \
                                        .save = save_,                                             \
                                        .load = load_,                                             \
                                        .objective = &objective};                                  \
    DOWEL_MODULE(&plugin)

#define REWARD(score_)                                                                             \
    static const dowel_reward reward = {.size = sizeof reward, .score = score_};                   \
    static const dowel_plugin plugin = {                                                           \
        DOWEL_PLUGIN("bad", "1.0.0", "A broken reward.", DOWEL_PURE), .reward = &reward};          \
    DOWEL_MODULE(&plugin)

#define LOSS(name_)                                                                                \
    static dowel_status name_(void *self, const dowel_batch *in, double *loss, dowel_err *err)
#define VOID(x_) (void)self, (void)err

#endif
