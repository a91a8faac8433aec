/* What the host offers a plugin during a call: log, metrics, scratch memory, random bits, fields.
 */
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/rng.h"
#include "plug/internal.h"

static atomic_bool stopping;
static _Thread_local dw_call *innermost;

void dw_plug_cancel(bool stop)
{
    atomic_store(&stopping, stop);
}

bool dw_plug_cancelled(void)
{
    return atomic_load(&stopping);
}

void dw_host_enter(dw_call *call)
{
    call->outer = innermost;
    innermost = call;
}

void dw_host_leave(dw_call *call)
{
    innermost = call->outer;
}

static dw_instance *instance_of(const dowel_host *host)
{
    return host->ctx;
}

/* The call that this thread makes on the instance; NULL on a thread of the plugin's own. */
static dw_call *call_of(const dw_instance *i)
{
    return innermost && innermost->of == i ? innermost : NULL;
}

__attribute__((format(printf, 2, 3))) static void object_to(dw_instance *i, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    pthread_mutex_lock(&i->lock);
    if (!i->fault[0])
        vsnprintf(i->fault, sizeof i->fault, fmt, ap);
    pthread_mutex_unlock(&i->lock);
    va_end(ap);
}

static void host_log(const dowel_host *host, int32_t level, const char *line)
{
    static const dw_level known[] = {DW_DEBUG, DW_INFO, DW_WARN, DW_ERROR};
    dw_level l = level < DOWEL_DEBUG ? DW_DEBUG : level > DOWEL_ERROR ? DW_ERROR : known[level];
    if (line)
        dw_log(l, instance_of(host)->name, "%.*s", (int)strcspn(line, "\n"), line);
}

static void host_metric(const dowel_host *host, const char *name, uint32_t fold, double value,
                        double weight)
{
    dw_instance *i = instance_of(host);
    if (!name || !*name || strlen(name) > 100 || fold > DOWEL_MAX) {
        object_to(i, "metric '%.60s' with fold %u, expected a name and DOWEL_MEAN .. DOWEL_MAX",
                  name ? name : "", fold);
        return;
    }
    if (!isfinite(weight) || weight < 0) {
        object_to(i, "metric '%.60s' with weight %g, expected a number of items", name, weight);
        return;
    }
    if (!isfinite(value) || (fold == DOWEL_MEAN && weight == 0)) {
        dw_log(DW_DEBUG, i->name, "metric %s: %g is left out", name, value);
        return;
    }
    if (!i->metric)
        return;
    pthread_mutex_lock(&i->lock);
    i->metric(i->metric_ctx, i->name, name, fold, value, weight);
    pthread_mutex_unlock(&i->lock);
}

static void *host_scratch(const dowel_host *host, size_t bytes)
{
    dw_instance *i = instance_of(host);
    dw_call *c = call_of(i);
    if (c)
        return dw_arena_alloc(&c->scratch, bytes);
    pthread_mutex_lock(&i->lock);
    void *p = dw_arena_alloc(&i->shared, bytes);
    pthread_mutex_unlock(&i->lock);
    return p;
}

static uint64_t host_random(const dowel_host *host, uint64_t key, uint64_t index)
{
    return dw_random(instance_of(host)->seed, DW_RNG_PLUGIN, key, index);
}

static bool host_cancelled(const dowel_host *host)
{
    dw_call *c = call_of(instance_of(host));
    return dw_plug_cancelled() || (c && c->deadline > 0 && dw_now() > c->deadline);
}

/* Strings lose their quotes and escapes; the rest is handed over as it is written. */
static bool take_value(const dowel_host *host, dw_text raw, dowel_text *value)
{
    dw_err err;
    dw_json *string = NULL;
    dw_text t = raw;
    if (raw.len && raw.ptr[0] == '"') {
        if (dw_json_parse(raw.ptr, raw.len, 1, 1, &string, &err) < 0)
            return false;
        t = dw_json_str(string);
    }
    char *copy = host_scratch(host, t.len + 1);
    memcpy(copy, t.ptr, t.len);
    *value = (dowel_text){copy, t.len};
    dw_json_free(string);
    return true;
}

static bool host_field(const dowel_host *host, const dowel_text *meta, const char *path,
                       dowel_text *value)
{
    dw_err err;
    dw_json *whole;
    if (!meta || !meta->ptr || !path || !*path)
        return false;
    if (dw_json_parse(meta->ptr, meta->len, DW_JSON_DEPTH_ROW, 1, &whole, &err) < 0)
        return false;
    dw_json_free(whole);
    dw_arena a = {0};
    dw_text raw;
    bool there = dw_field_find(&a, (dw_text){meta->ptr, meta->len}, path, &raw) &&
                 take_value(host, raw, value);
    dw_arena_finish(&a);
    return there;
}

static const void *host_extension(const dowel_host *host, const char *id)
{
    (void)host;
    (void)id;
    return NULL; /* there are none yet */
}

void dw_host_fill(dw_instance *i)
{
    i->host = (dowel_host){.size = sizeof i->host,
                           .abi_major = DOWEL_ABI_MAJOR,
                           .abi_minor = DOWEL_ABI_MINOR,
                           .ctx = i,
                           .log = host_log,
                           .metric = host_metric,
                           .scratch = host_scratch,
                           .random = host_random,
                           .cancelled = host_cancelled,
                           .field = host_field,
                           .extension = host_extension};
}
