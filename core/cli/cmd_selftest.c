/* `dowel selftest`: the golden vectors of the specification on this build, through the plugins that
 * are found and through every kernel that this CPU has. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/arena.h"
#include "base/file.h"
#include "cli/args.h"
#include "cli/cmd.h"
#include "cli/selftest.h"
#include "plug/plug.h"
#include "tensor/divergence.h"

typedef struct tally {
    size_t n, failed;
    double distance; /* largest of those that passed, of its tolerance */
} tally;

static void put_line(tally *t, const char *section, const char *name, const char *by,
                     const char *wrong)
{
    t->n++;
    t->failed += wrong != NULL;
    printf("%sok %zu %s %s (%s)\n", wrong ? "not " : "", t->n, section, name, by);
    if (wrong)
        printf("# %s\n", wrong);
}

/* Nine printed digits; the largest share of the tolerance used is kept. */
static bool near(tally *t, double got, double want, double tol)
{
    double d = fabs(got - want) / tol;
    if (d <= 1 && d > t->distance)
        t->distance = d;
    return d <= 1;
}

/* ---- batches ---- */

typedef struct built {
    dowel_batch b;
    dowel_column col[64];
    uint32_t *start, *mark_start;
    uint8_t *mask, *mark, *stop, *role;
    int32_t *mate, *group;
    uint64_t *id;
} built;

static bool per_sequence(uint32_t c)
{
    return (c >= DOWEL_WEIGHT && c <= DOWEL_REWARD) || c == DOWEL_RANK || c == DOWEL_FIELD;
}

static bool per_mark(uint32_t c)
{
    return c == DOWEL_SCORE || c == DOWEL_CHOICES || c == DOWEL_MARK_LABEL;
}

static uint32_t rows_of(const built *t, uint32_t c)
{
    return per_sequence(c) ? t->b.n_seq : per_mark(c) ? t->mark_start[t->b.n_seq] : t->b.n_tok;
}

static double *column(dw_arena *a, built *t, uint32_t c, uint32_t width)
{
    dowel_column *k = &t->col[c];
    if (k->x)
        return (double *)k->x;
    k->rows = rows_of(t, c);
    k->width = width;
    size_t bytes = ((size_t)k->rows * width + 1) * sizeof(double);
    k->x = dw_arena_alloc(a, bytes);
    if (c < 16)
        k->grad = dw_arena_alloc(a, bytes);
    return (double *)k->x;
}

static void put_column(dw_arena *a, built *t, const dw_case_column *k)
{
    double *x = column(a, t, k->column, k->width);
    uint32_t rows = rows_of(t, k->column);
    if (k->n == rows * k->width)
        memcpy(x, k->x, k->n * sizeof *x);
    for (uint32_t s = 0; k->n != rows * k->width && s < t->b.n_seq; s++)
        for (uint32_t r = t->start[s]; r < t->start[s + 1]; r++)
            x[r] = k->x[s];
}

static void put_structure(dw_arena *a, built *t, const dw_case_batch *from)
{
    const size_t n = from->n_seq + (size_t)1;
    t->start = dw_arena_alloc(a, n * sizeof *t->start);
    t->mark_start = dw_arena_alloc(a, n * sizeof *t->mark_start);
    t->stop = dw_arena_alloc(a, n);
    t->role = dw_arena_alloc(a, n);
    t->mate = dw_arena_alloc(a, n * sizeof *t->mate);
    t->group = dw_arena_alloc(a, n * sizeof *t->group);
    t->id = dw_arena_alloc(a, n * sizeof *t->id);
    for (uint32_t s = 0; s < from->n_seq; s++) {
        bool paired = from->pairs && from->role[s] != DOWEL_GOLD;
        t->start[s + 1] = t->start[s] + from->len[s];
        t->mark_start[s + 1] = t->mark_start[s] + from->marks;
        t->role[s] = from->role[s];
        t->stop[s] = DOWEL_STOP_EOS;
        t->mate[s] = paired ? (int32_t)(s ^ 1) : -1;
        t->group[s] = from->pairs ? (int32_t)(s / 2) : from->group[s];
        t->id[s] = s;
    }
    t->mask = dw_arena_alloc(a, t->start[from->n_seq] + (size_t)1);
    t->mark = dw_arena_alloc(a, t->start[from->n_seq] + (size_t)1);
    memset(t->mask, 1, t->start[from->n_seq]);
    for (uint32_t s = 0; s < from->n_seq; s++)
        memset(t->mark + t->start[s + 1] - from->marks, 1, from->marks);
}

static built *build(dw_arena *a, const dw_case_batch *from)
{
    static const char *const part[] = {"right", "short"};
    static const double part_weight[] = {1, 0.5};
    built *t = dw_arena_alloc(a, sizeof *t);
    put_structure(a, t, from);
    t->b = (dowel_batch){.size = sizeof t->b,
                         .n_seq = from->n_seq,
                         .n_tok = t->start[from->n_seq],
                         .n_col = 64,
                         .max_tok = 10,
                         .temperature = 1,
                         .start = t->start,
                         .mask = t->mask,
                         .mark = t->mark,
                         .mark_start = t->mark_start,
                         .mate = t->mate,
                         .group = t->group,
                         .stop = t->stop,
                         .role = t->role,
                         .id = t->id,
                         .part = part,
                         .part_weight = part_weight,
                         .col = t->col};
    double *weight = column(a, t, DOWEL_WEIGHT, 1), *label = column(a, t, DOWEL_LABEL, 1);
    for (uint32_t s = 0; s < from->n_seq; s++) {
        weight[s] = 1;
        label[s] = t->mate[s] < 0 ? 0 : s % 2 ? -1 : 1;
        if (t->role[s] != DOWEL_TRAINED && t->role[s] != DOWEL_OTHER)
            continue;
        t->b.step_seqs += 1;
        t->b.step_toks += from->len[s];
    }
    for (uint32_t k = 0; k < DW_CASE_COLUMNS && from->col[k].x; k++)
        put_column(a, t, &from->col[k]);
    return t;
}

/* ---- one vector ---- */

static dw_status open_plugin(dw_registry *reg, const dw_case *c, dw_instance **out, dw_err *err)
{
    const dw_plugin_info *p;
    dw_json *given = NULL, *full = NULL;
    dw_buf text = {0};
    DW_TRY(dw_registry_find(reg, c->plugin, NULL, &p, err));
    dw_status s = dw_json_parse(c->options, strlen(c->options), 8, 1, &given, err);
    if (s == DW_OK)
        s = dw_options_check(p, given, NULL, &text, err);
    if (s == DW_OK)
        s = dw_json_parse(text.ptr, text.len, 8, 1, &full, err);
    dw_instance_spec spec = {.info = p, .name = "selftest", .options = full};
    if (s == DW_OK)
        s = dw_instance_create(&spec, out, err);
    dw_json_free(given);
    dw_json_free(full);
    dw_buf_finish(&text);
    return s;
}

static bool number(tally *t, dw_arena *a, const char *what, double got, double want,
                   const char **wrong)
{
    if (near(t, got, want, 1e-8 * fabs(want) + 2e-9))
        return true;
    *wrong = dw_arena_printf(a, "%s is %.12g, printed as %.10g", what, got, want);
    return false;
}

/* What was asked for by the row, or once for all tokens of a sequence. */
static const char *compare_gradient(tally *t, dw_arena *a, const dw_case *c, const built *b)
{
    const dowel_column *k = &b->col[c->column];
    const char *wrong = NULL;
    bool by_row = c->n == k->rows * k->width;
    for (uint32_t r = 0; !wrong && by_row && r < c->n; r++)
        number(t, a, dw_arena_printf(a, "derivative %u", r), k->grad[r], c->want[r], &wrong);
    for (uint32_t s = 0; !wrong && !by_row && s < c->n; s++) {
        double tokens = c->kind == DW_WANT_MEAN ? b->start[s + 1] - b->start[s] : 1;
        for (uint32_t r = b->start[s]; !wrong && r < b->start[s + 1]; r++)
            number(t, a, dw_arena_printf(a, "derivative %u", r), k->grad[r], c->want[s] / tokens,
                   &wrong);
    }
    return wrong;
}

static const char *run_loss(tally *t, dw_arena *a, const dw_case *c, dw_instance *i, dw_err *err)
{
    built *b = build(a, c->batch);
    double total[64] = {0}, counted[64] = {0}, loss = 0;
    const char *wrong = NULL;
    const dowel_objective *o = &dw_instance_info(i)->objective;
    if (o->n_total > 64 || o->n_tally > 64)
        return "more totals than there is room for";
    b->b.host = dw_instance_host(i);
    if ((c->tally[0] != 0 && dw_call_step_end(i, 0, c->tally, err) < 0) ||
        dw_call_survey(i, &b->b, total, err) < 0)
        return err->text;
    if (c->batch->n_loss) {
        b->b.n_seq = c->batch->n_loss;
        b->b.n_tok = b->start[b->b.n_seq];
        for (uint32_t k = 0; k < 64; k++)
            b->col[k].rows = b->col[k].x ? rows_of(b, k) : 0;
    }
    b->b.total = total;
    b->b.tally = counted;
    if (dw_call_loss(i, &b->b, &loss, err) < 0)
        return err->text;
    number(t, a, "the loss", loss, c->loss, &wrong);
    return wrong ? wrong : compare_gradient(t, a, c, b);
}

static const char *run_credit(tally *t, dw_arena *a, const dw_case *c, dw_instance *i, dw_err *err)
{
    built *b = build(a, c->batch);
    const size_t n = b->b.n_seq + (size_t)1, toks = b->b.n_tok + (size_t)1;
    const char *wrong = NULL;
    bool critic = b->col[DOWEL_OLD_VALUE].x != NULL;
    dowel_credit k = {.size = sizeof k,
                      .ret_width = critic,
                      .advantage = dw_arena_alloc(a, toks * sizeof(double)),
                      .ret = critic ? dw_arena_alloc(a, toks * sizeof(double)) : NULL,
                      .weight = dw_arena_alloc(a, n * sizeof(double)),
                      .label = dw_arena_alloc(a, n * sizeof(double)),
                      .mate = dw_arena_alloc(a, n * sizeof(int32_t)),
                      .keep = dw_arena_alloc(a, n)};
    for (size_t s = 0; s < n; s++) {
        k.weight[s] = 1;
        k.mate[s] = -1;
        k.keep[s] = 1;
    }
    b->b.host = dw_instance_host(i);
    if (dw_call_estimate(i, &b->b, &k, err) < 0)
        return err->text;
    bool each = c->n == b->b.n_tok;
    for (uint32_t s = 0; !wrong && s < c->n; s++)
        number(t, a, dw_arena_printf(a, "advantage %u", s),
               k.advantage[each ? s : b->start[s + 1] - 1], c->want[s], &wrong);
    return wrong;
}

static void run_case(tally *t, dw_registry *reg, const dw_case *c)
{
    dw_arena a = {0};
    dw_err err = {{0}};
    dw_instance *i = NULL;
    const char *wrong = open_plugin(reg, c, &i, &err) < 0 ? err.text
                        : c->kind == DW_WANT_CREDIT       ? run_credit(t, &a, c, i, &err)
                                                          : run_loss(t, &a, c, i, &err);
    put_line(t, c->section, c->name, c->plugin, wrong);
    dw_instance_destroy(i);
    dw_arena_finish(&a);
}

/* ---- the head, with weights that hand hidden values through as logits ---- */

enum { V = 4 };
typedef struct head {
    dw_panels panels;
    dw_real *w, *mine, *other;
} head;

static void make_head(const dw_exec *x, head *h)
{
    h->w = dw_zalloc(V * V, sizeof *h->w);
    h->mine = dw_zalloc(V, sizeof *h->mine);
    h->other = dw_zalloc(V, sizeof *h->other);
    for (size_t k = 0; k < V; k++) {
        h->w[k * V + k] = 1;
        h->mine[k] = (dw_real)dw_case_logits[k];
        h->other[k] = (dw_real)dw_case_teacher[k];
    }
    size_t bytes = dw_panels_bytes(V, V, DW_PANEL_REAL);
    h->panels = (dw_panels){dw_tensor_map(bytes), V, V, DW_PANEL_REAL, h->w};
    if (h->panels.data)
        dw_panels_pack(x, &h->panels, h->w, V);
}

static void drop_head(head *h)
{
    if (h->panels.data)
        dw_tensor_unmap(h->panels.data, dw_panels_bytes(V, V, DW_PANEL_REAL));
    dw_free(h->w);
    dw_free(h->mine);
    dw_free(h->other);
}

static dw_head_spec spec_of(const head *h)
{
    return (dw_head_spec){.w = &h->panels, .vocab = V, .d = V, .temperature = 1};
}

static dw_status statistic(const dw_exec *x, const head *h, const dw_head_case *c, double *value,
                           dw_real *dz, dw_err *err)
{
    const dw_head_spec spec = spec_of(h);
    const dw_head_pair pair = {0, DW_CASE_LABEL};
    const double one = 1;
    double out[4] = {0};
    dw_head_out to = {
        .logp = &out[0], .entropy = &out[1], .mean_logp = &out[2], .collision = &out[3]};
    dw_head_state state = {0};
    dw_status s = dw_head_forward(x, &spec, h->mine, V, &pair, 1, DW_HEAD_RECOMPUTE,
                                  (dw_head_wants){true, true}, &to, &state, err);
    if (s == DW_OK && c->column < 3)
        dw_head_backward(x, &spec, h->mine, V, &pair, 1, c->column == 0 ? &one : NULL,
                         c->column == 1 ? &one : NULL, c->column == 2 ? &one : NULL, dz, V, NULL,
                         NULL, &state);
    *value = out[c->column];
    dw_head_state_finish(&state);
    return s;
}

static dw_status divergence(const dw_exec *x, const head *h, const dw_head_case *c, double *value,
                            dw_real *dz, dw_err *err)
{
    const double one = 1;
    const dw_divergence_call call = {.spec = {c->kind, c->beta, 1, c->top_k, c->tail},
                                     .mine = {spec_of(h), h->mine, V, NULL},
                                     .other = {spec_of(h), h->other, V, NULL},
                                     .n = 1};
    dw_divergence_state state = {0};
    const dw_divergence_grad grad = {.d_out = &one, .d_hidden = dz, .ld = V};
    dw_status s = dw_divergence_forward(x, &call, DW_HEAD_RECOMPUTE, value, &state, err);
    if (s == DW_OK)
        dw_divergence_backward(x, &call, &grad, &state);
    dw_divergence_state_finish(&state);
    return s;
}

static void run_head_case(tally *t, const dw_exec *x, const head *h, const dw_head_case *c)
{
    dw_err err = {{0}};
    dw_real dz[V] = {0};
    double value = 0;
    char text[200];
    const char *wrong = NULL;
    const double tol = 4e-7; /* logits and derivatives pass through float32 */
    dw_status s = c->column < 0 ? divergence(x, h, c, &value, dz, &err)
                                : statistic(x, h, c, &value, dz, &err);
    if (s < 0)
        wrong = err.text;
    else if (!near(t, value, c->value, tol))
        wrong = text;
    snprintf(text, sizeof text, "the value is %.9g, printed as %.9g", value, c->value);
    for (int k = 0; !wrong && k < V; k++) {
        if (near(t, (double)dz[k], c->dz[k], tol))
            continue;
        snprintf(text, sizeof text, "derivative %d is %.9g, printed as %.9g", k, (double)dz[k],
                 c->dz[k]);
        wrong = text;
    }
    put_line(t, c->section, c->name, dw_exec_kernel(x), wrong);
}

static dw_status run_heads(tally *t, dw_err *err)
{
    for (const char *const *k = dw_exec_kernel_names(); *k; k++) {
        dw_exec x;
        head h = {0};
        DW_TRY(dw_exec_init(&x, 1, *k, err));
        make_head(&x, &h);
        for (size_t c = 0; h.panels.data && c < dw_n_head_cases; c++)
            run_head_case(t, &x, &h, &dw_head_cases[c]);
        bool room = h.panels.data != NULL;
        drop_head(&h);
        dw_exec_finish(&x);
        if (!room)
            return dw_fail(err, DW_E_LIMIT, "no memory for a head of four tokens");
    }
    return DW_OK;
}

/* ---- the command ---- */

static dw_status run(dw_registry *reg, dw_err *err)
{
    tally t = {0};
    for (size_t c = 0; c < dw_n_cases; c++)
        run_case(&t, reg, &dw_cases[c]);
    DW_TRY(run_heads(&t, err));
    printf(
        "1..%zu\n# %zu golden vectors, %zu wrong; those that are right use up to %.0f %% of their "
        "tolerance\n",
        t.n, t.n, t.failed, 100 * t.distance);
    if (t.failed)
        return dw_fail(err, DW_E_GATE, "%zu of %zu golden vectors are not met by this build",
                       t.failed, t.n);
    return DW_OK;
}

dw_status dw_cmd_selftest(int argc, char **argv, dw_err *err)
{
    dw_arg_list dirs = {0};
    bool help = false;
    const dw_arg arg[] = {
        {"--plugin-dir", DW_ARG_LIST, &dirs, 0, 0, "DIR", "look here first (may be repeated)"},
    };
    dw_status s = dw_args_parse(argc, argv, "dowel selftest", arg, sizeof arg / sizeof *arg, NULL,
                                0, 0, &help, err);
    if (s == DW_OK && !help) {
        dw_arena a = {0};
        dw_registry *reg = NULL;
        for (size_t i = 0; i < dirs.n; i++)
            dirs.item[i] = dw_path_absolute(&a, dirs.item[i]);
        s = dw_registry_create(dirs.item, dirs.n, &reg, err);
        if (s == DW_OK)
            s = run(reg, err);
        dw_registry_destroy(reg);
        dw_arena_finish(&a);
    }
    dw_free(dirs.item);
    return s;
}
