/* format: does the completion consist of the wanted tags, each once, closed and in order? */
#include <ctype.h>
#include <dowel/plugin.h>
#include <string.h>

struct opts {
    const char *tags;
    bool strict, partial;
    double right, wrong;
};

static const dowel_param params[] = {
    DOWEL_OPT_STR(struct opts, tags, "think answer", 0, "Names of the tags, between spaces."),
    DOWEL_OPT_BOOL(struct opts, strict, "true", 0, "Nothing but white space outside the tags."),
    DOWEL_OPT_BOOL(struct opts, partial, "false", 0,
                   "Share of the tags that stand there exactly once, instead of all or nothing."),
    DOWEL_OPT_REAL(struct opts, right, "1", -1e6, 1e6, DOWEL_TUNABLE,
                   "Score of a completion in this format."),
    DOWEL_OPT_REAL(struct opts, wrong, "0", -1e6, 1e6, DOWEL_TUNABLE, "Score of any other."),
};

enum { NAME = 64 };

static dowel_status create(const dowel_host *host, const void *config, void **self, dowel_err *err)
{
    const struct opts *o = config;
    size_t n = strspn(o->tags, " ");
    (void)host;
    if (!o->tags[n])
        return dowel_fail(err, DOWEL_E_ARG, "tags is empty; name at least one");
    for (const char *p = o->tags + n; *p; p += strspn(p, " ")) {
        n = strcspn(p, " ");
        if (n >= NAME || memchr(p, '<', n) || memchr(p, '>', n))
            return dowel_fail(err, DOWEL_E_ARG,
                              "tag '%.*s' must be shorter than %d bytes, without < and >",
                              (int)(n < 100 ? n : 100), p, NAME);
        p += n;
    }
    *self = (void *)(uintptr_t)config; /* only read */
    return DOWEL_OK;
}

static void destroy(void *self)
{
    (void)self;
}

/* How often `what` stands in t; *first is where. */
static size_t count(dowel_text t, const char *what, size_t *first)
{
    size_t n = 0, len = strlen(what);
    for (size_t i = 0; i + len <= t.len; i++) {
        if (memcmp(t.ptr + i, what, len) != 0)
            continue;
        if (n++ == 0)
            *first = i;
        i += len - 1;
    }
    return n;
}

static bool blank(dowel_text t, size_t from, size_t to)
{
    while (from < to && isspace((unsigned char)t.ptr[from]))
        from++;
    return from >= to;
}

struct verdict {
    size_t tags, once;   /* marks wanted, and marks found exactly once */
    bool ordered, clean; /* clean: nothing outside */
};

static struct verdict judge(const struct opts *o, dowel_text t)
{
    struct verdict v = {.ordered = true, .clean = true};
    size_t end = 0;
    for (const char *p = o->tags + strspn(o->tags, " "); *p; p += strspn(p, " ")) {
        char open[NAME + 3], close[NAME + 4];
        size_t n = strcspn(p, " "), a = 0, b = 0;
        snprintf(open, sizeof open, "<%.*s>", (int)n, p);
        snprintf(close, sizeof close, "</%.*s>", (int)n, p);
        bool one_a = count(t, open, &a) == 1, one_b = count(t, close, &b) == 1;
        v.tags += 2;
        v.once += one_a;
        v.once += one_b;
        if (one_a && one_b && a >= end && b >= a + strlen(open)) {
            v.clean = v.clean && blank(t, end, a);
            end = b + strlen(close);
        } else {
            v.ordered = false;
        }
        p += n;
    }
    v.clean = v.clean && blank(t, end, t.len);
    return v;
}

static dowel_status score(void *self, const dowel_sample *const *in, uint32_t n, dowel_scores *out,
                          dowel_err *err)
{
    const struct opts *o = self;
    (void)err;
    for (uint32_t i = 0; i < n; i++) {
        struct verdict v = judge(o, in[i]->completion);
        bool good = v.ordered && (v.clean || !o->strict);
        double part = o->partial ? (double)v.once / (double)v.tags : good;
        char line[128];
        out->total[i] = o->wrong + (o->right - o->wrong) * part;
        snprintf(line, sizeof line, "%zu of %zu tags, %s, %s", v.once, v.tags,
                 v.ordered ? "in order" : "not in order",
                 v.clean ? "nothing outside" : "text outside");
        out->why(out, i, line);
    }
    return DOWEL_OK;
}

static const dowel_reward reward = {.size = sizeof reward, .score = score};
static const dowel_plugin plugin = {
    DOWEL_PLUGIN("format", "1.0.0", "Rewards a completion that keeps to a format of tags.",
                 DOWEL_PURE | DOWEL_REENTRANT),
    DOWEL_OPTIONS(struct opts, params),
    .create = create,
    .destroy = destroy,
    .reward = &reward,
};
DOWEL_MODULE(&plugin);
