/* The instance of an estimator that remembers something from one rollout to the next. */
#ifndef DOWEL_PLUGINS_SHAPER_H
#define DOWEL_PLUGINS_SHAPER_H

#include <dowel/plugin.h>
#include <math.h>
#include <stdlib.h>

#define SHAPING_MOST 1e12 /* further off than this no weight means anything */

/* Doubles only: it is saved as it lies in memory. */
struct shaping_state {
    double n, mean, m2; /* of all raw scores so far (Welford) */
    double kl_factor;   /* what the controller has made of the weight, up to SHAPING_MOST */
};

static inline struct shaping_state shaping_start(void)
{
    return (struct shaping_state){.kl_factor = 1};
}

/* An instance: options, which begin with or contain the shared ones, and the state. */
struct shaper {
    const void *opts;
    struct shaping_state state;
};

static inline dowel_status shaper_create(const dowel_host *host, const void *config, void **self,
                                         dowel_err *err)
{
    struct shaper *x = calloc(1, sizeof *x);
    (void)host;
    if (!x)
        return dowel_fail(err, DOWEL_E_NOMEM, "out of memory");
    *x = (struct shaper){config, shaping_start()};
    *self = x;
    return DOWEL_OK;
}

static inline void shaper_destroy(void *self)
{
    free(self);
}

static inline dowel_status shaper_save(void *self, dowel_sink *to, dowel_err *err)
{
    const struct shaper *x = self;
    dowel_status rc = to->write(to, &x->state, sizeof x->state);
    return rc < 0 ? dowel_fail(err, rc, "the state of the rewards cannot be written") : DOWEL_OK;
}

static inline dowel_status shaping_load(struct shaping_state *st, dowel_source *from,
                                        dowel_err *err)
{
    struct shaping_state s;
    dowel_status rc = from->read(from, &s, sizeof s);
    if (rc < 0)
        return dowel_fail(err, rc, "the state of the rewards cannot be read");
    bool sane = s.n >= 0 && s.n <= 1e15 && s.m2 >= 0 && s.m2 <= 1e100 && fabs(s.mean) <= 1e50 &&
                s.kl_factor >= 0 && s.kl_factor <= SHAPING_MOST;
    if (!sane)
        return dowel_fail(err, DOWEL_E_STATE, "the saved state of the rewards is damaged");
    *st = s;
    return DOWEL_OK;
}

static inline dowel_status shaper_load(void *self, dowel_source *from, uint32_t version,
                                       dowel_err *err)
{
    struct shaper *x = self;
    (void)version;
    return shaping_load(&x->state, from, err);
}

/* For use inside the braces of a dowel_plugin. */
#define SHAPER_CALLS                                                                               \
    .state_version = 1, .create = shaper_create, .destroy = shaper_destroy, .save = shaper_save,   \
    .load = shaper_load

#endif
