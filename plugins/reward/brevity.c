/* brevity: full reward up to a budget of bytes or tokens, then a linear fall to zero. */
#include <dowel/plugin.h>
#include <inttypes.h>

enum { BYTES = 0, TOKENS = 1 };
static const char *const units[] = {"bytes", "tokens", NULL};

struct opts {
    int64_t budget, unit;
    double slope;
};

static const dowel_param params[] = {
    DOWEL_OPT_INT(struct opts, budget, "400", 0, 1e9, DOWEL_TUNABLE, "Length that costs nothing."),
    DOWEL_OPT_CHOICE(struct opts, unit, "bytes", units, 0, "What the length is counted in."),
    DOWEL_OPT_REAL(struct opts, slope, "0.005", 0, 1, DOWEL_TUNABLE,
                   "Reward lost with every unit beyond the budget."),
};

static dowel_status score(void *self, const dowel_sample *const *in, uint32_t n, dowel_scores *out,
                          dowel_err *err)
{
    const struct opts *o = self;
    (void)err;
    for (uint32_t i = 0; i < n; i++) {
        int64_t len = o->unit == TOKENS ? (int64_t)in[i]->n_tok : (int64_t)in[i]->completion.len;
        double over = len > o->budget ? (double)(len - o->budget) : 0;
        double reward = 1 - o->slope * over;
        char line[96];
        out->total[i] = reward > 0 ? reward : 0;
        snprintf(line, sizeof line, "%" PRId64 " %s, %" PRId64 " allowed", len, units[o->unit],
                 o->budget);
        out->why(out, i, line);
    }
    return DOWEL_OK;
}

static const dowel_reward reward = {.size = sizeof reward, .highest = 1, .score = score};
static const dowel_plugin plugin = {DOWEL_PLUGIN("brevity", "1.0.0",
                                                 "Rewards answers that stay within a length.",
                                                 DOWEL_PURE | DOWEL_REENTRANT),
                                    DOWEL_OPTIONS(struct opts, params), .reward = &reward};
DOWEL_MODULE(&plugin);
