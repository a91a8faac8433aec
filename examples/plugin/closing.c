/* closing: full reward for an answer that ends like a sentence, part of it for one that does not.
 */
#include <dowel/plugin.h>
#include <string.h>

struct opts {
    const char *marks;
    double otherwise;
};

static const dowel_param params[] = {
    DOWEL_OPT_STR(struct opts, marks, ".!?", 0, "Characters that close a sentence."),
    DOWEL_OPT_REAL(struct opts, otherwise, "0", 0, 1, DOWEL_TUNABLE, "Score of any other answer."),
};

static dowel_status score(void *self, const dowel_sample *const *in, uint32_t n, dowel_scores *out,
                          dowel_err *err)
{
    const struct opts *o = self;
    (void)err;
    for (uint32_t i = 0; i < n; i++) {
        const dowel_text *t = &in[i]->completion;
        uint64_t len = t->len;
        while (len > 0 && memchr(" \n\t", t->ptr[len - 1], 3))
            len--;
        bool closed = len > 0 && memchr(o->marks, t->ptr[len - 1], strlen(o->marks));
        out->total[i] = closed ? 1 : o->otherwise;
        out->why(out, i, closed ? "closed" : "ends in the middle of a sentence");
    }
    return DOWEL_OK;
}

static const dowel_reward reward = {.size = sizeof reward, .highest = 1, .score = score};
static const dowel_plugin plugin = {
    DOWEL_PLUGIN("org.example.closing", "1.0.0", "Rewards answers that end like a sentence.",
                 DOWEL_PURE | DOWEL_REENTRANT),
    DOWEL_OPTIONS(struct opts, params),
    .reward = &reward,
};
DOWEL_MODULE(&plugin);
