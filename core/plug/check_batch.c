/* Random steps for `dowel check`: sequences of any shape that data can have, with every column that
 * a plugin may ask for, in arrays that may end at an unreadable page. */
#include <math.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "plug/check_probe.h"

enum { GROUP = 4, MODEL_COLUMNS = 16 };

static bool per_sequence(uint32_t k)
{
    return (k >= DOWEL_WEIGHT && k <= DOWEL_REWARD) || k == DOWEL_RANK || k == DOWEL_FIELD;
}

bool dw_probe_by_mark(uint32_t column)
{
    return column == DOWEL_SCORE || column == DOWEL_CHOICES || column == DOWEL_MARK_LABEL;
}

uint32_t dw_probe_row(const dw_probe *p, uint32_t k, uint32_t s)
{
    return per_sequence(k) ? s : dw_probe_by_mark(k) ? p->mark_start[s] : p->start[s];
}

const char *dw_probe_shape_name(uint32_t shape)
{
    static const char *const name[] = {"texts", "pairs", "labels", "rollouts", "lists", "steps"};
    return name[shape ? __builtin_ctz(shape) % DW_PROBE_SHAPES : 0];
}

/* ---- memory ---- */

void *dw_probe_memory(dw_check *c, size_t bytes, bool fenced)
{
    if (!fenced)
        return dw_arena_alloc(&c->arena, bytes ? bytes : 1);
    size_t page = (size_t)sysconf(_SC_PAGESIZE), body = (bytes + page - 1) / page * page;
    char *m = mmap(NULL, body + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (m == MAP_FAILED || mprotect(m + body, page, PROT_NONE))
        return dw_arena_alloc(&c->arena, bytes ? bytes : 1);
    return m + body - bytes;
}

static dw_probe *make(dw_check *c, uint32_t n_seq, const uint32_t *len, bool fenced)
{
    dw_probe *p = dw_arena_alloc(&c->arena, sizeof *p);
    p->start = dw_probe_memory(c, (n_seq + (size_t)1) * sizeof *p->start, fenced);
    p->mark_start = dw_probe_memory(c, (n_seq + (size_t)1) * sizeof *p->mark_start, fenced);
    for (uint32_t s = 0; s < n_seq; s++)
        p->start[s + 1] = p->start[s] + len[s];
    uint32_t n_tok = p->start[n_seq];
    p->from = dw_probe_memory(c, n_seq * sizeof *p->from, false);
    p->unit = dw_probe_memory(c, n_seq * sizeof *p->unit, false);
    p->mask = dw_probe_memory(c, n_tok, fenced);
    p->mark = dw_probe_memory(c, n_tok, fenced);
    p->stop = dw_probe_memory(c, n_seq, fenced);
    p->role = dw_probe_memory(c, n_seq, fenced);
    p->mate = dw_probe_memory(c, n_seq * sizeof *p->mate, fenced);
    p->group = dw_probe_memory(c, n_seq * sizeof *p->group, fenced);
    p->id = dw_probe_memory(c, n_seq * sizeof *p->id, fenced);
    for (uint32_t s = 0; s < n_seq; s++)
        p->mate[s] = -1;
    p->b = (dowel_batch){.size = sizeof p->b,
                         .n_seq = n_seq,
                         .n_tok = n_tok,
                         .n_col = DW_PROBE_COLUMNS,
                         .max_tok = 12,
                         .temperature = 1,
                         .start = p->start,
                         .mask = p->mask,
                         .mark = p->mark,
                         .mark_start = p->mark_start,
                         .mate = p->mate,
                         .group = p->group,
                         .stop = p->stop,
                         .role = p->role,
                         .id = p->id,
                         .col = p->col};
    return p;
}

double *dw_probe_column(dw_check *c, dw_probe *p, uint32_t k, uint32_t width, bool fenced)
{
    dowel_column *col = &p->col[k];
    if (!col->x) {
        col->rows = dw_probe_row(p, k, p->b.n_seq);
        col->width = width ? width : 1;
        col->x = dw_probe_memory(c, (size_t)col->rows * col->width * sizeof(double), fenced);
    }
    return (double *)col->x;
}

/* ---- sequences ---- */

/* What one unit consists of, by shape: a text; a pair and its gold answer; an answer with a label
 * and a mismatched one; a group with its extras; a list; a text with steps. */
static uint32_t unit_size(const dw_check *c, const dw_probe_plan *l, uint32_t u)
{
    uint32_t more = l->ask.extra_samples ? l->ask.extra_samples : 1, kinds = 0;
    switch (l->spec->shape) {
    case DOWEL_PAIRS:
        return 2 + (l->n_gold && u % 3 == 0);
    case DOWEL_LABELS:
        return l->ask.extras & DOWEL_WITH_MISMATCHED ? 2 : 1;
    case DOWEL_ROLLOUTS:
        for (uint32_t bit = DOWEL_WITH_GREEDY; bit <= DOWEL_WITH_MIXTURE; bit <<= 1)
            kinds += (l->ask.extras & bit) != 0;
        return GROUP + kinds * more;
    case DOWEL_LISTS:
        return 2 + (uint32_t)dw_check_below(c, l->spec->key + 1, u, 3);
    default:
        return 1;
    }
}

static uint8_t role_of(const dw_probe_plan *l, uint32_t k)
{
    uint32_t more = l->ask.extra_samples ? l->ask.extra_samples : 1;
    if (l->spec->shape == DOWEL_PAIRS && k == 2)
        return DOWEL_GOLD;
    if (l->spec->shape == DOWEL_LABELS && k == 1)
        return DOWEL_MISMATCHED;
    if (l->spec->shape != DOWEL_ROLLOUTS || k < GROUP)
        return DOWEL_TRAINED;
    return (l->ask.extras & DOWEL_WITH_GREEDY) && k < GROUP + more ? DOWEL_GREEDY : DOWEL_OTHER;
}

static void place(const dw_check *c, dw_probe *p, const dw_probe_plan *l, uint32_t s, uint32_t u,
                  uint32_t k)
{
    const bool odd = l->spec->odd;
    p->unit[s] = u;
    p->from[s] = s;
    p->id[s] = 1000 + s;
    p->group[s] = (int32_t)u;
    p->role[s] = role_of(l, k);
    if (l->spec->shape == DOWEL_PAIRS && k < 2)
        p->mate[s] = (int32_t)(k ? s - 1 : s + 1);
    if (l->spec->shape == DOWEL_ROLLOUTS)
        p->stop[s] = (uint8_t)(1 + dw_check_below(c, l->spec->key + 2, s, 3));
    for (uint32_t t = p->start[s]; t < p->start[s + 1]; t++)
        p->mask[t] = !odd || dw_check_below(c, l->spec->key + 3, t, 5) > 0;
    if (odd && s % 11 == 6) /* an answer of which nothing counts */
        memset(p->mask + p->start[s], 0, p->start[s + 1] - p->start[s]);
}

/* Steps end at some of the tokens; otherwise the last token of each answer is marked. */
static void put_marks(const dw_check *c, dw_probe *p, const dw_probe_plan *l)
{
    for (uint32_t s = 0; s < p->b.n_seq; s++) {
        p->mark_start[s + 1] = p->mark_start[s];
        for (uint32_t t = p->start[s]; t < p->start[s + 1]; t++) {
            p->mark[t] =
                t + 1 == p->start[s + 1] ||
                (l->spec->shape == DOWEL_STEPS && dw_check_below(c, l->spec->key + 4, t, 3) == 0);
            p->mark_start[s + 1] += p->mark[t];
        }
    }
}

static dw_probe *lay_out(dw_check *c, const dw_probe_plan *l)
{
    const dw_probe_spec *spec = l->spec;
    uint32_t n = 0, s = 0;
    for (uint32_t u = 0; u < spec->units; u++)
        n += unit_size(c, l, u);
    uint32_t *len = dw_arena_alloc(&c->arena, (n + 1) * sizeof *len);
    for (uint32_t k = 0; k < n; k++) {
        len[k] = 1 + (uint32_t)dw_check_below(c, spec->key + 5, k, 6);
        if (spec->odd && k % 13 == 4 && !l->scores)
            len[k] = 0;
    }
    dw_probe *p = make(c, n, len, spec->fenced);
    p->n_unit = spec->units;
    p->shape = spec->shape;
    for (uint32_t u = 0; u < spec->units; u++)
        for (uint32_t k = 0, size = unit_size(c, l, u); k < size; k++, s++)
            place(c, p, l, s, u, k);
    put_marks(c, p, l);
    return p;
}

/* As the host counts them. */
static void count(dw_probe *p)
{
    p->b.step_seqs = p->b.step_toks = 0;
    for (uint32_t s = 0; s < p->b.n_seq; s++) {
        uint32_t n = dowel_seq_len(&p->b, s);
        if (p->role[s] != DOWEL_TRAINED && p->role[s] != DOWEL_OTHER)
            continue;
        p->b.step_seqs += n > 0;
        p->b.step_toks += n;
    }
    p->b.step_seqs = fmax(p->b.step_seqs, 1);
    p->b.step_toks = fmax(p->b.step_toks, 1);
}

static void put_gradients(dw_check *c, dw_probe *p, const dowel_request *ask)
{
    for (uint32_t k = 0; k < MODEL_COLUMNS; k++)
        if (p->col[k].x && !(ask->detached & DOWEL_BIT(k)))
            p->col[k].grad = dw_arena_alloc(
                &c->arena, ((size_t)p->col[k].rows * p->col[k].width + 1) * sizeof(double));
}

/* ---- parts of a step ---- */

static bool wanted(const dw_probe *p, uint32_t s, dw_probe_view view)
{
    return view != DW_VIEW_LOSS || (p->role[s] != DOWEL_MISMATCHED && p->role[s] != DOWEL_GREEDY);
}

static void copy_column(dw_check *c, const dw_probe *p, dw_probe *to, uint32_t k, bool fenced,
                        dw_probe_view view)
{
    const dowel_column *col = &p->col[k];
    double *x = dw_probe_column(c, to, k, col->width, fenced);
    for (uint32_t s = 0; s < to->b.n_seq; s++) {
        size_t first = (size_t)dw_probe_row(to, k, s) * col->width;
        size_t n = (size_t)dw_probe_row(to, k, s + 1) * col->width - first;
        const double *from = col->x + (size_t)dw_probe_row(p, k, to->from[s]) * col->width;
        bool hidden = view == DW_VIEW_SURVEY && (k < MODEL_COLUMNS || k == DOWEL_HELD_LOGP) &&
                      to->role[s] != DOWEL_MISMATCHED;
        for (size_t j = 0; j < n; j++)
            x[first + j] = hidden ? NAN : from[j];
    }
    if (col->grad && view == DW_VIEW_LOSS)
        to->col[k].grad =
            dw_probe_memory(c, (size_t)to->col[k].rows * to->col[k].width * sizeof(double), fenced);
}

static void copy_sequence(const dw_probe *p, dw_probe *to, uint32_t s, uint32_t q)
{
    uint32_t n = p->start[q + 1] - p->start[q];
    to->from[s] = q;
    to->unit[s] = p->unit[q];
    to->group[s] = p->group[q];
    to->role[s] = p->role[q];
    to->stop[s] = p->stop[q];
    to->id[s] = p->id[q];
    memcpy(to->mask + to->start[s], p->mask + p->start[q], n);
    memcpy(to->mark + to->start[s], p->mark + p->start[q], n);
    to->mark_start[s + 1] = to->mark_start[s] + p->mark_start[q + 1] - p->mark_start[q];
}

dw_probe *dw_probe_part(dw_check *c, const dw_probe *p, const uint32_t *seq, uint32_t n,
                        dw_probe_view view, bool fenced)
{
    uint32_t *len = dw_arena_alloc(&c->arena, (n + (size_t)1) * sizeof *len), m = 0;
    uint32_t *pick = dw_arena_alloc(&c->arena, (n + (size_t)1) * sizeof *pick);
    int32_t *at = dw_arena_alloc(&c->arena, (p->b.n_seq + (size_t)1) * sizeof *at);
    for (uint32_t k = 0; k < n; k++) {
        if (!wanted(p, seq[k], view))
            continue;
        len[m] = p->start[seq[k] + 1] - p->start[seq[k]];
        pick[m++] = seq[k];
    }
    dw_probe *to = make(c, m, len, fenced);
    for (uint32_t s = 0; s < m; s++) {
        copy_sequence(p, to, s, pick[s]);
        at[pick[s]] = (int32_t)s + 1;
    }
    for (uint32_t s = 0; s < m; s++)
        if (p->mate[pick[s]] >= 0)
            to->mate[s] = at[p->mate[pick[s]]] - 1;
    to->b.step = p->b.step;
    to->b.step_seqs = p->b.step_seqs;
    to->b.step_toks = p->b.step_toks;
    to->b.max_tok = p->b.max_tok;
    to->b.part = p->b.part;
    to->b.part_weight = p->b.part_weight;
    to->ask = p->ask;
    to->shape = p->shape;
    to->n_unit = p->n_unit;
    for (uint32_t k = 0; k < DW_PROBE_COLUMNS; k++)
        if (p->col[k].x)
            copy_column(c, p, to, k, fenced, view);
    return to;
}

uint32_t dw_probe_units(const dw_probe *p, const uint32_t *order, uint32_t first, uint32_t n,
                        uint32_t *seq)
{
    uint32_t m = 0;
    for (uint32_t k = first; k < first + n; k++)
        for (uint32_t s = 0; s < p->b.n_seq; s++)
            if (p->unit[s] == (order ? order[k] : k))
                seq[m++] = s;
    return m;
}

/* Which sequences stay together: rollouts of an objective that does not ask for groups may be cut
 * anywhere but within pairs. */
static void set_units(dw_probe *p)
{
    if (p->shape != DOWEL_ROLLOUTS || p->ask.together == DOWEL_BY_GROUP)
        return;
    p->n_unit = 0;
    for (uint32_t s = 0; s < p->b.n_seq; s++)
        p->unit[s] = p->mate[s] >= 0 && p->mate[s] < (int32_t)s ? p->unit[p->mate[s]] : p->n_unit++;
}

/* ---- rollouts through the plugin's own estimator ---- */

static dowel_credit credit_for(dw_check *c, const dw_probe *p, uint32_t ret_width)
{
    const size_t n = p->b.n_seq + (size_t)1, toks = p->b.n_tok + (size_t)1;
    dowel_credit k = {.size = sizeof k,
                      .ret_width = ret_width,
                      .advantage = dw_arena_alloc(&c->arena, toks * sizeof(double)),
                      .weight = dw_arena_alloc(&c->arena, n * sizeof(double)),
                      .label = dw_arena_alloc(&c->arena, n * sizeof(double)),
                      .mate = dw_arena_alloc(&c->arena, n * sizeof(int32_t)),
                      .keep = dw_arena_alloc(&c->arena, n)};
    if (ret_width)
        k.ret = dw_arena_alloc(&c->arena, toks * ret_width * sizeof(double));
    for (size_t s = 0; s < n; s++) {
        k.weight[s] = 1;
        k.mate[s] = -1;
        k.keep[s] = 1;
    }
    return k;
}

/* As the host does: what the estimator says, then without what is dropped. */
static dw_probe *apply(dw_check *c, dw_probe *p, const dowel_credit *k)
{
    uint32_t *seq = dw_arena_alloc(&c->arena, (p->b.n_seq + (size_t)1) * sizeof *seq), n = 0;
    bool pairs = false;
    for (uint32_t s = 0; s < p->b.n_seq; s++)
        pairs |= k->mate[s] >= 0;
    for (uint32_t s = 0; s < p->b.n_seq; s++) {
        const double *reward = p->col[DOWEL_REWARD].x;
        int32_t m = k->mate[s];
        p->mate[s] = m;
        ((double *)p->col[DOWEL_WEIGHT].x)[s] = k->weight[s];
        ((double *)p->col[DOWEL_LABEL].x)[s] = k->label[s];
        bool scored =
            !reward || (!isnan(reward[(size_t)s * p->col[DOWEL_REWARD].width]) &&
                        (m < 0 || !isnan(reward[(size_t)m * p->col[DOWEL_REWARD].width])));
        bool kept = k->keep[s] && (m < 0 || k->keep[m]) && (!pairs || m >= 0);
        if (kept && scored && p->role[s] != DOWEL_GREEDY)
            seq[n++] = s;
    }
    if (p->col[DOWEL_ADVANTAGE].x)
        memcpy((double *)p->col[DOWEL_ADVANTAGE].x, k->advantage, p->b.n_tok * sizeof(double));
    if (p->col[DOWEL_RETURN].x && k->ret)
        memcpy((double *)p->col[DOWEL_RETURN].x, k->ret,
               p->b.n_tok * k->ret_width * sizeof(double));
    dw_probe *to = dw_probe_part(c, p, seq, n, DW_VIEW_ALL, false);
    for (uint32_t s = 0; s < n; s++)
        to->from[s] = s; /* a step of its own from now on */
    return to;
}

static dw_opened through_estimator(dw_check *c, dw_instance *i, dw_probe **p)
{
    dw_err err = {{0}};
    bool critic = ((*p)->ask.columns & DOWEL_BIT(DOWEL_RETURN)) != 0;
    dowel_credit k = credit_for(c, *p, critic ? (*p)->col[DOWEL_RETURN].width : 0);
    (*p)->b.host = dw_instance_host(i);
    dw_check_now(c, "estimate for a rollout that the objective is to see");
    if (dw_call_estimate(i, &(*p)->b, &k, &err) < 0) {
        dw_check_fail(c, "%s", err.text);
        return DW_CHECK_REFUSED;
    }
    *p = apply(c, *p, &k);
    return DW_CHECK_OPEN;
}

/* Answers of a rollout as pairs, for objectives whose estimator is another plugin. */
static void pair_up(dw_probe *p)
{
    double *label = (double *)p->col[DOWEL_LABEL].x;
    for (uint32_t s = 0; s + 1 < p->b.n_seq; s += 2) {
        p->mate[s] = (int32_t)s + 1;
        p->mate[s + 1] = (int32_t)s;
        label[s] = 1;
        label[s + 1] = -1;
    }
}

/* ---- making a step ---- */

static dw_opened start(dw_check *c, const dw_setting *set, const dw_probe_spec *spec,
                       dw_probe_plan *l, dw_instance **i)
{
    dw_err err = {{0}};
    const dowel_plugin *p = &c->info->plugin;
    *l = (dw_probe_plan){.spec = spec};
    dw_opened o = dw_check_open(c, set, NULL, i);
    if (o != DW_CHECK_OPEN)
        return o;
    if (p->objective && dw_call_observe(*i, false, &l->ask, &err) < 0)
        return dw_check_fail(c, "%s", err.text) ? DW_CHECK_OPEN : DW_CHECK_BROKEN;
    l->n_gold = 1;
    l->scores = (l->ask.columns & (DOWEL_BIT(DOWEL_SCORE) | DOWEL_BIT(DOWEL_CHOICES))) != 0;
    dw_probe_name_parts(c, set, l);
    return DW_CHECK_OPEN;
}

static void unite(dowel_request *all, const dowel_request *more)
{
    all->columns |= more->columns;
    all->extras |= more->extras;
    all->value_width = more->value_width > all->value_width ? more->value_width : all->value_width;
    all->extra_samples =
        more->extra_samples > all->extra_samples ? more->extra_samples : all->extra_samples;
    all->fields = all->fields ? all->fields : more->fields;
}

dw_opened dw_probe_make(dw_check *c, const dw_setting *set, const dw_probe_spec *spec,
                        dw_probe **out)
{
    dw_probe_plan l;
    dw_err err = {{0}};
    dw_instance *i = NULL;
    const dw_plugin_info *info = c->info;
    dw_opened o = start(c, set, spec, &l, &i);
    if (o != DW_CHECK_OPEN)
        return o;
    const dowel_request ask = l.ask;
    bool credit = info->plugin.estimator && spec->shape == DOWEL_ROLLOUTS;
    dowel_request more = {0};
    if (credit && dw_call_observe(i, true, &more, &err) == DW_OK)
        unite(&l.ask, &more);
    dw_probe *p = lay_out(c, &l);
    p->ask = ask;
    if (spec->shape == DOWEL_ROLLOUTS && !credit && (info->objective.feeds_on & DOWEL_PAIRS)) {
        dw_probe_column(c, p, DOWEL_LABEL, 1, spec->fenced);
        pair_up(p);
    }
    dw_probe_fill(c, p, &l);
    if (credit && p->b.n_seq && !spec->bare)
        o = through_estimator(c, i, &p);
    dw_instance_destroy(i);
    for (uint32_t k = 0; k < DW_PROBE_ASKED; k++)
        if (!(ask.columns & DOWEL_BIT(k)))
            p->col[k] = (dowel_column){0};
    put_gradients(c, p, &ask);
    set_units(p);
    count(p);
    *out = p;
    return o;
}

dw_opened dw_probe_rollout(dw_check *c, const dw_setting *set, const dw_probe_spec *spec,
                           dw_probe **out)
{
    dw_probe_plan l;
    dw_err err = {{0}};
    dw_instance *i = NULL;
    dw_probe_spec own = *spec;
    own.shape = DOWEL_ROLLOUTS;
    dw_opened o = start(c, set, &own, &l, &i);
    if (o != DW_CHECK_OPEN)
        return o;
    uint32_t heads = l.ask.value_width;
    if (dw_call_observe(i, true, &l.ask, &err) < 0)
        return dw_check_fail(c, "%s", err.text) ? DW_CHECK_OPEN : DW_CHECK_BROKEN;
    l.ask.value_width = l.ask.value_width > heads ? l.ask.value_width : heads;
    dw_instance_destroy(i);
    dw_probe *p = lay_out(c, &l);
    p->ask = l.ask;
    dw_probe_fill(c, p, &l);
    count(p);
    *out = p;
    return DW_CHECK_OPEN;
}
