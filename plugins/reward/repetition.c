/* repetition: a penalty for the share of an answer's n-grams that it had already. */
#include <ctype.h>
#include <dowel/plugin.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct opts {
    int64_t size;
    double penalty;
};

static const dowel_param params[] = {
    DOWEL_OPT_INT(struct opts, size, "3", 1, 64, 0, "Words in an n-gram."),
    DOWEL_OPT_REAL(struct opts, penalty, "-1", -1e6, 0, DOWEL_TUNABLE,
                   "Score of an answer that would be repetition alone."),
};

/* A word of the answer, and its number among the different ones. */
struct word {
    const char *ptr;
    size_t len, place;
};

static int by_text(const void *a, const void *b)
{
    const struct word *x = a, *y = b;
    size_t n = x->len < y->len ? x->len : y->len;
    int c = strncasecmp(x->ptr, y->ptr, n);
    if (c != 0)
        return c;
    return x->len < y->len ? -1 : x->len > y->len;
}

/* Words are what stands between white space. */
static size_t split(dowel_text t, struct word *w)
{
    size_t n = 0;
    for (uint64_t i = 0; i < t.len;) {
        uint64_t from;
        while (i < t.len && isspace((unsigned char)t.ptr[i]))
            i++;
        from = i;
        while (i < t.len && !isspace((unsigned char)t.ptr[i]))
            i++;
        if (i > from) {
            w[n] = (struct word){t.ptr + from, i - from, n};
            n++;
        }
    }
    return n;
}

/* An n-gram by the number of its first n - 1 words and that of its last. */
struct pair {
    size_t a, b, place;
};

static int by_pair(const void *a, const void *b)
{
    const struct pair *x = a, *y = b;
    return x->a != y->a ? (x->a < y->a ? -1 : 1) : x->b < y->b ? -1 : x->b > y->b;
}

/* Gives the n-grams at n places, one word longer than id[] says, their numbers: how many differ. */
static size_t extend(struct pair *p, size_t n, size_t *id, const size_t *word)
{
    size_t different = 0;
    for (size_t i = 0; i < n; i++)
        p[i] = (struct pair){id[i], word[i], i};
    qsort(p, n, sizeof *p, by_pair);
    for (size_t i = 0; i < n; i++) {
        different += i == 0 || by_pair(&p[i - 1], &p[i]) != 0;
        id[p[i].place] = different;
    }
    return different;
}

/* Different n-grams among `total`; `total` 0: the answer is shorter than one. */
static size_t different(const dowel_host *host, const struct opts *o, dowel_text text,
                        size_t *total)
{
    struct word *w = host->scratch(host, (text.len / 2 + 2) * sizeof *w);
    size_t n = split(text, w), size = (size_t)o->size, kinds = 0;
    *total = n >= size ? n - size + 1 : 0;
    if (*total == 0)
        return 0;
    size_t *word = host->scratch(host, n * sizeof *word), *id = host->scratch(host, n * sizeof *id);
    struct pair *p = host->scratch(host, n * sizeof *p);
    qsort(w, n, sizeof *w, by_text);
    for (size_t i = 0; i < n; i++) {
        kinds += i == 0 || by_text(&w[i - 1], &w[i]) != 0;
        word[w[i].place] = kinds;
    }
    for (size_t k = 0; k < size; k++)
        kinds = extend(p, n - k, id, word + k);
    return kinds;
}

static dowel_status score(void *self, const dowel_sample *const *in, uint32_t n, dowel_scores *out,
                          dowel_err *err)
{
    const struct opts *o = self;
    (void)err;
    for (uint32_t i = 0; i < n; i++) {
        size_t total, kinds = different(out->host, o, in[i]->completion, &total);
        char line[96];
        double repeated = total > 0 ? 1 - (double)kinds / (double)total : 0;
        out->total[i] = repeated > 0 ? o->penalty * repeated : 0;
        snprintf(line, sizeof line, "%zu of %zu n-grams are different", kinds, total);
        out->why(out, i, line);
    }
    return DOWEL_OK;
}

static const dowel_reward reward = {.size = sizeof reward, .score = score};
static const dowel_plugin plugin = {DOWEL_PLUGIN("repetition", "1.0.0",
                                                 "Penalises answers that repeat themselves.",
                                                 DOWEL_PURE | DOWEL_REENTRANT),
                                    DOWEL_OPTIONS(struct opts, params), .reward = &reward};
DOWEL_MODULE(&plugin);
