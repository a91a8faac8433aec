/* Folds the numbers of a step and writes them as JSON. */
#include "train/metrics.h"

#include <dowel/plugin.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/json.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* plugins may report from any thread */

static dw_metric *find_or_add(dw_metrics *m, const char *name, uint32_t fold)
{
    int64_t at;
    if (dw_map_get(&m->index, dw_text_of(name), &at))
        return &m->item[at];
    DW_GROW(m->item, m->n, m->cap);
    const char *own = dw_arena_strdup(&m->arena, name);
    m->item[m->n] = (dw_metric){.name = own, .fold = fold};
    dw_map_put(&m->index, dw_text_of(own), (int64_t)m->n);
    return &m->item[m->n++];
}

static void keep_part(dw_metric *x, double value, double weight)
{
    DW_GROW(x->part, x->n_part, x->cap_part);
    x->part[x->n_part++] = (dw_metric_part){value, weight};
}

void dw_metrics_add(dw_metrics *m, const char *name, uint32_t fold, double value, double weight)
{
    pthread_mutex_lock(&lock);
    dw_metric *x = find_or_add(m, name, fold);
    bool first = x->weight == 0;
    switch (x->fold) {
    case DOWEL_SUM:
        x->sum += value;
        x->weight = 1;
        break;
    case DOWEL_MIN:
        x->sum = first || value < x->sum ? value : x->sum;
        x->weight = 1;
        break;
    case DOWEL_MAX:
        x->sum = first || value > x->sum ? value : x->sum;
        x->weight = 1;
        break;
    default:
        if (weight > 0) { /* a mean over nothing says nothing */
            x->sum += weight * value;
            x->weight += weight;
            if (m->keep_parts)
                keep_part(x, value, weight);
        }
        break;
    }
    pthread_mutex_unlock(&lock);
}

void dw_metrics_set(dw_metrics *m, const char *name, double value)
{
    pthread_mutex_lock(&lock);
    dw_metric *x = find_or_add(m, name, DOWEL_SUM);
    x->fold = DOWEL_SUM;
    x->sum = value;
    x->weight = 1;
    pthread_mutex_unlock(&lock);
}

const dw_metric *dw_metrics_find(const dw_metrics *m, const char *name)
{
    int64_t at;
    return dw_map_get(&m->index, dw_text_of(name), &at) ? &m->item[at] : NULL;
}

double dw_metric_value(const dw_metric *m)
{
    if (m->weight == 0)
        return NAN;
    return m->fold == DOWEL_MEAN ? m->sum / m->weight : m->sum;
}

/* Yes or no: both values occur, or the name says that no others could. */
static bool are_yes_or_no(const dw_metric *m)
{
    bool zero = false, one = false;
    for (size_t i = 0; i < m->n_part; i++) {
        double v = m->part[i].value;
        if ((v != 0 && v != 1) || m->part[i].weight != m->part[0].weight)
            return false;
        zero |= v == 0;
        one |= v == 1;
    }
    return (zero && one) || strstr(m->name, "accurac");
}

double dw_metric_ci95(const dw_metric *m)
{
    static const double z = 1.959963984540054;
    if (m->fold != DOWEL_MEAN || m->n_part < 2)
        return NAN;
    double mean = m->sum / m->weight, ss = 0, n = (double)m->n_part;
    if (are_yes_or_no(m)) { /* 11 of 11 is not certainty: Agresti and Coull 1998 */
        double more = n + z * z, p = (mean * n + z * z / 2) / more;
        return z * sqrt(p * (1 - p) / more);
    }
    for (size_t i = 0; i < m->n_part; i++) {
        double e = m->part[i].weight * (m->part[i].value - mean);
        ss += e * e;
    }
    return z * sqrt(ss * n / (n - 1)) / m->weight;
}

void dw_metrics_clear(dw_metrics *m)
{
    bool keep = m->keep_parts;
    dw_metrics_finish(m);
    m->keep_parts = keep;
}

void dw_metrics_finish(dw_metrics *m)
{
    for (size_t i = 0; i < m->n; i++)
        dw_free(m->item[i].part);
    dw_free(m->item);
    dw_map_finish(&m->index);
    dw_arena_finish(&m->arena);
    *m = (dw_metrics){0};
}

void dw_metrics_put(const dw_metrics *m, dw_buf *out)
{
    for (size_t i = 0; i < m->n; i++) {
        const dw_metric *x = &m->item[i];
        if (x->weight == 0)
            continue;
        dw_buf_addc(out, ',');
        dw_json_put_cstr(out, x->name);
        dw_buf_addc(out, ':');
        dw_json_put_num(out, dw_metric_value(x));
        double ci = dw_metric_ci95(x);
        if (!isfinite(ci))
            continue;
        char name[512];
        snprintf(name, sizeof name, "%s_ci95", x->name);
        dw_buf_addc(out, ',');
        dw_json_put_cstr(out, name);
        dw_buf_addc(out, ':');
        dw_json_put_sig(out, ci, 6);
    }
}
