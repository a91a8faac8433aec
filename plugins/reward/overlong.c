/* overlong: no penalty up to a length, then one that grows to -1 at the limit. */
#include <dowel/plugin.h>
#include <inttypes.h>

struct opts {
    int64_t limit, cache;
    double penalty;
};

static const dowel_param params[] = {
    DOWEL_OPT_INT(struct opts, limit, NULL, 1, 1e9, DOWEL_TUNABLE,
                  "Tokens from which the penalty is whole."),
    DOWEL_OPT_INT(struct opts, cache, "0", 0, 1e9, DOWEL_TUNABLE,
                  "Tokens before that over which it grows; 0: all at once, past the limit."),
    DOWEL_OPT_REAL(struct opts, penalty, "1", 0, 1e6, DOWEL_TUNABLE, "The whole penalty."),
};

/* Between 0 and 1. */
static double share(const struct opts *o, int64_t n)
{
    int64_t from = o->limit - o->cache;
    if (n > o->limit)
        return 1;
    return n > from && o->cache > 0 ? (double)(n - from) / (double)o->cache : 0;
}

static dowel_status score(void *self, const dowel_sample *const *in, uint32_t n, dowel_scores *out,
                          dowel_err *err)
{
    const struct opts *o = self;
    if (o->cache > o->limit)
        return dowel_fail(err, DOWEL_E_ARG, "cache %" PRId64 " is above limit %" PRId64, o->cache,
                          o->limit);
    for (uint32_t i = 0; i < n; i++) {
        double lost = share(o, in[i]->n_tok);
        char line[96];
        out->total[i] = lost > 0 ? -o->penalty * lost : 0;
        snprintf(line, sizeof line, "%u tokens, free up to %" PRId64, in[i]->n_tok,
                 o->limit - o->cache);
        out->why(out, i, line);
    }
    return DOWEL_OK;
}

static const dowel_reward reward = {.size = sizeof reward, .score = score};
static const dowel_plugin plugin = {DOWEL_PLUGIN("overlong", "1.0.0",
                                                 "Penalises answers that come close to a length.",
                                                 DOWEL_PURE | DOWEL_REENTRANT),
                                    DOWEL_OPTIONS(struct opts, params), .reward = &reward};
DOWEL_MODULE(&plugin);
