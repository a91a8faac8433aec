/* Positions of config.json: rotary frequencies in both spellings. */
#include <math.h>
#include <string.h>

#include "model/config_internal.h"

static const double pi = 3.14159265358979323846;

static const char *const kinds[] = {
    [DW_ROPE_NONE] = "none",        [DW_ROPE_DEFAULT] = "default", [DW_ROPE_LINEAR] = "linear",
    [DW_ROPE_LLAMA3] = "llama3",    [DW_ROPE_DYNAMIC] = "dynamic", [DW_ROPE_YARN] = "yarn",
    [DW_ROPE_LONGROPE] = "longrope"};

const char *dw_config_rope_name(dw_rope_kind kind)
{
    return kinds[kind];
}

/* The mapping: rope_parameters (transformers 5) or rope_scaling (before). */
static dw_status find_mapping(const dw_json *root, const dw_json **out, const char **name,
                              dw_err *err)
{
    static const char *const keys[] = {"rope_parameters", "rope_scaling"};
    *out = NULL;
    *name = NULL;
    for (size_t i = 0; i < 2; i++) {
        const dw_json *v = dw_json_get(root, keys[i]);
        if (!dw_config_has(root, keys[i]))
            continue;
        if (dw_json_kind(v) != DW_JSON_OBJECT)
            return dw_fail(err, DW_E_INPUT, "%s: wanted an object, found %s", keys[i],
                           dw_json_kind_name(v));
        if (*out)
            return dw_fail(err, DW_E_INPUT, "rope_parameters and rope_scaling are both set");
        *out = v;
        *name = keys[i];
    }
    return DW_OK;
}

static dw_status read_kind(const dw_json *map, const dw_family *f, dw_rope_kind *kind, dw_err *err)
{
    const char *type = NULL, *old = NULL;
    DW_TRY(dw_json_get_cstr(map, "rope_type", NULL, &type, err));
    DW_TRY(dw_json_get_cstr(map, "type", NULL, &old, err));
    type = type ? type : old ? old : "default";
    const bool phi3 = f->layout == DW_LAYOUT_PHI3;
    if (phi3 && (!strcmp(type, "su") || !strcmp(type, "yarn"))) /* its first names */
        type = "longrope";
    for (int k = DW_ROPE_DEFAULT; k <= DW_ROPE_LONGROPE; k++)
        if (!strcmp(type, kinds[k]) && (!phi3 || k == DW_ROPE_DEFAULT || k == DW_ROPE_LONGROPE)) {
            *kind = (dw_rope_kind)k;
            return DW_OK;
        }
    return dw_fail(err, DW_E_INPUT, "rope_type \"%.64s\" is not supported (supported: default, %s)",
                   type, phi3 ? "longrope" : "linear, llama3, dynamic, yarn, longrope");
}

#define KIND(k) (1u << DW_ROPE_##k)
/* Every key of a mapping, and the kinds that read it. A leftover of another kind would silently do
 * nothing here and something elsewhere; only the numbers of LINEAR and LLAMA3, which some tools
 * write always, are let through. */
static const struct {
    const char *key;
    unsigned kinds;
    bool harmless;
} map_keys[] = {
    {"rope_type", ~0u, false},
    {"type", ~0u, false},
    {"rope_theta", ~0u, false},
    {"partial_rotary_factor", ~0u, false},
    {"factor", KIND(LINEAR) | KIND(LLAMA3) | KIND(DYNAMIC) | KIND(YARN) | KIND(LONGROPE), true},
    {"low_freq_factor", KIND(LLAMA3), true},
    {"high_freq_factor", KIND(LLAMA3), true},
    {"original_max_position_embeddings", KIND(LLAMA3) | KIND(YARN) | KIND(LONGROPE), true},
    {"attention_factor", KIND(YARN) | KIND(LONGROPE), false},
    {"beta_fast", KIND(YARN), false},
    {"beta_slow", KIND(YARN), false},
    {"mscale", KIND(YARN), false},
    {"mscale_all_dim", KIND(YARN), false},
    {"truncate", KIND(YARN), false},
    {"short_factor", KIND(LONGROPE), false},
    {"long_factor", KIND(LONGROPE), false},
};
enum { N_MAP_KEYS = sizeof map_keys / sizeof *map_keys };

static dw_status check_keys(const dw_json *map, dw_rope_kind kind, dw_err *err)
{
    for (const dw_json *v = dw_json_first(map); v; v = dw_json_next(v)) {
        size_t i = 0;
        while (i < N_MAP_KEYS && strcmp(map_keys[i].key, dw_json_key(v)) != 0)
            i++;
        if (dw_json_kind(v) == DW_JSON_NULL)
            continue;
        if (i == N_MAP_KEYS)
            return dw_fail(err, DW_E_INPUT, "%.64s is not supported", dw_json_key(v));
        if (map_keys[i].kinds >> kind & 1)
            continue;
        if (!map_keys[i].harmless || dw_json_kind(v) != DW_JSON_NUMBER)
            return dw_fail(err, DW_E_INPUT, "%s has no meaning for rope_type \"%s\"",
                           map_keys[i].key, kinds[kind]);
    }
    return DW_OK;
}

static dw_status need_num(const dw_json *map, const char *key, double lo, double hi, double *out,
                          dw_err *err)
{
    DW_TRY(dw_json_get_num(map, key, -1, lo, hi, out, err));
    return *out < 0 ? dw_fail(err, DW_E_INPUT, "%s is missing", key) : DW_OK;
}

static dw_status read_llama3(const dw_json *map, dw_description *d, dw_err *err)
{
    DW_TRY(need_num(map, "low_freq_factor", 1e-6, 1e6, &d->rope_low, err));
    DW_TRY(need_num(map, "high_freq_factor", 1e-6, 1e6, &d->rope_high, err));
    if (d->rope_low >= d->rope_high)
        return dw_fail(err, DW_E_INPUT, "low_freq_factor %g is not below high_freq_factor %g",
                       d->rope_low, d->rope_high);
    return DW_OK;
}

/* The paper's growth of cos and sin with the scale. */
static double magnitude(double scale, double weight)
{
    return scale <= 1 ? 1 : 0.1 * weight * log(scale) + 1;
}

static dw_status read_yarn(const dw_json *map, dw_description *d, dw_err *err)
{
    double scale = 0, all = 0;
    DW_TRY(dw_json_get_num(map, "beta_fast", 32, 1e-3, 1e6, &d->rope_high, err));
    DW_TRY(dw_json_get_num(map, "beta_slow", 1, 1e-3, 1e6, &d->rope_low, err));
    if (d->rope_low >= d->rope_high)
        return dw_fail(err, DW_E_INPUT, "beta_slow %g is not below beta_fast %g", d->rope_low,
                       d->rope_high);
    DW_TRY(dw_json_get_num(map, "mscale", 0, 0, 1e3, &scale, err));
    DW_TRY(dw_json_get_num(map, "mscale_all_dim", 0, 0, 1e3, &all, err));
    DW_TRY(dw_json_get_bool(map, "truncate", true, &d->rope_round, err));
    double fallback = scale > 0 && all > 0
                          ? magnitude(d->rope_factor, scale) / magnitude(d->rope_factor, all)
                          : magnitude(d->rope_factor, 1);
    return dw_json_get_num(map, "attention_factor", fallback, 1e-3, 1e3, &d->rope_magnitude, err);
}

/* One divisor for every frequency. */
static dw_status read_divisors(const dw_json *map, const char *key, uint32_t n, double *out,
                               dw_err *err)
{
    const dw_json *v = dw_json_get(map, key);
    if (!v || dw_json_kind(v) != DW_JSON_ARRAY)
        return dw_fail(err, DW_E_INPUT, "%s: wanted an array, found %s", key, dw_json_kind_name(v));
    if (dw_json_len(v) != n)
        return dw_fail(err, DW_E_INPUT, "%s: %zu numbers for %u frequencies", key, dw_json_len(v),
                       n);
    size_t i = 0;
    for (const dw_json *e = dw_json_first(v); e; e = dw_json_next(e), i++) {
        if (dw_json_kind(e) != DW_JSON_NUMBER)
            return dw_fail(err, DW_E_INPUT, "%s: wanted numbers, found %s", key,
                           dw_json_kind_name(e));
        double x = dw_json_num(e);
        if (!(x >= 1e-6 && x <= 1e6))
            return dw_fail(err, DW_E_INPUT, "%s: %g is outside 1e-06 .. 1e+06", key, x);
        if (out)
            out[i] = x;
    }
    return DW_OK;
}

/* The long factors would turn a sequence's first tokens anew once it is long, which no cache of
 * keys survives; so the model ends where they would begin. */
static dw_status read_longrope(const dw_json *map, dw_description *d, dw_err *err)
{
    const uint32_t n = dw_config_turned(d) / 2;
    double ratio = (double)d->max_positions / d->rope_original;
    DW_TRY(dw_json_get_num(map, "factor", ratio, 1e-6, 1e6, &d->rope_factor, err));
    DW_TRY(read_divisors(map, "short_factor", n, d->rope_divide, err));
    DW_TRY(read_divisors(map, "long_factor", n, NULL, err));
    double fallback = 1;
    if (d->rope_factor > 1 && d->rope_original > 1)
        fallback = sqrt(1 + log(d->rope_factor) / log((double)d->rope_original));
    DW_TRY(dw_json_get_num(map, "attention_factor", fallback, 1e-3, 1e3, &d->rope_magnitude, err));
    if (d->max_positions > d->rope_original)
        d->max_positions = d->rope_original;
    return DW_OK;
}

/* original_max_position_embeddings: beside the mapping it wins, as in transformers. */
static dw_status read_original(const dw_json *root, const dw_json *map, const dw_family *f,
                               dw_description *d, dw_err *err)
{
    static const char key[] = "original_max_position_embeddings";
    const bool outer = dw_config_has(root, key);
    int64_t inner = f->rope_original && !outer ? f->rope_original : d->max_positions, x = 0;
    DW_TRY(dw_json_get_int(map, key, inner, 1, 1 << 30, &x, err));
    if (f->rope_original && !outer)
        x = f->rope_original;
    if (outer)
        DW_TRY(dw_json_get_int(root, key, 0, 1, 1 << 30, &x, err));
    d->rope_original = (uint32_t)x;
    return DW_OK;
}

static dw_status read_mapping(const dw_json *root, const dw_json *map, const dw_family *f,
                              dw_description *d, dw_err *err)
{
    DW_TRY(read_kind(map, f, &d->rope, err));
    DW_TRY(check_keys(map, d->rope, err));
    if (d->rope == DW_ROPE_DEFAULT)
        return DW_OK;
    if (d->rope != DW_ROPE_LONGROPE)
        DW_TRY(need_num(map, "factor", 1, 1e6, &d->rope_factor, err));
    if (d->rope == DW_ROPE_LLAMA3)
        DW_TRY(read_llama3(map, d, err));
    if (d->rope != DW_ROPE_LINEAR && d->rope != DW_ROPE_DYNAMIC)
        DW_TRY(read_original(root, map, f, d, err));
    if (d->rope == DW_ROPE_YARN)
        DW_TRY(read_yarn(map, d, err));
    return d->rope == DW_ROPE_LONGROPE ? read_longrope(map, d, err) : DW_OK;
}

/* partial_rotary_factor, beside the mapping or in it. */
static dw_status read_partial(const dw_json *root, const dw_json *map, const dw_family *f,
                              dw_description *d, dw_err *err)
{
    static const char key[] = "partial_rotary_factor";
    double outer = 1, inner = 0;
    if (f->partial_rotary)
        DW_TRY(dw_json_get_num(root, key, 1, 1e-6, 1, &outer, err));
    inner = outer;
    if (map)
        DW_TRY(dw_json_get_num(map, key, outer, 1e-6, 1, &inner, err));
    if (inner != 1 && !f->partial_rotary)
        return dw_fail(err, DW_E_INPUT,
                       "partial_rotary_factor is %g: partial rotary embedding is not supported",
                       inner);
    if (inner != outer && dw_config_has(root, key))
        return dw_fail(err, DW_E_INPUT, "partial_rotary_factor is %g, and beside the mapping %g",
                       inner, outer);
    d->partial_rotary = inner;
    const uint32_t turned = (uint32_t)((double)d->head_dim * inner);
    if (turned < 2 || turned % 2)
        return dw_fail(err, DW_E_INPUT,
                       "partial_rotary_factor %g turns %u of %u elements; rotary embedding turns "
                       "pairs",
                       inner, turned, d->head_dim);
    return DW_OK;
}

/* rope_theta beside the mapping and in it. */
static dw_status read_theta(const dw_json *root, const dw_json *map, const char *name,
                            const char *key, double fallback, double *out, dw_err *err)
{
    double theta = 0, inner = 0;
    DW_TRY(dw_json_get_num(root, key, fallback, 1, 1e12, &theta, err));
    *out = theta;
    if (!map)
        return DW_OK;
    dw_status st = dw_json_get_num(map, "rope_theta", theta, 1, 1e12, &inner, err);
    if (st < 0) {
        dw_err_prefix(err, "%s", name);
        return st;
    }
    if (dw_config_has(root, key) && inner != theta)
        return dw_fail(err, DW_E_INPUT, "%s is %g and in %s %g", key, theta, name, inner);
    *out = inner;
    return DW_OK;
}

/* Gemma 3 in the new spelling: one mapping for each kind of layer. */
typedef struct nested {
    const dw_json *full, *sliding;
} nested;

static dw_status find_nested(const dw_json *map, nested *out, dw_err *err)
{
    *out = (nested){0};
    for (const dw_json *v = dw_json_first(map); v; v = dw_json_next(v)) {
        const bool full = !strcmp(dw_json_key(v), "full_attention");
        if (!full && strcmp(dw_json_key(v), "sliding_attention") != 0)
            return dw_fail(err, DW_E_INPUT,
                           "%.64s is not supported beside full_attention and sliding_attention",
                           dw_json_key(v));
        if (dw_json_kind(v) != DW_JSON_OBJECT)
            return dw_fail(err, DW_E_INPUT, "%s: wanted an object, found %s", dw_json_key(v),
                           dw_json_kind_name(v));
        if (full)
            out->full = v;
        else
            out->sliding = v;
    }
    return DW_OK;
}

/* Layers with a window turn unscaled. */
static dw_status check_local(const dw_json *map, const dw_family *f, dw_err *err)
{
    dw_rope_kind kind = DW_ROPE_DEFAULT;
    if (!map)
        return DW_OK;
    dw_status st = read_kind(map, f, &kind, err);
    if (st == DW_OK)
        st = check_keys(map, kind, err);
    if (st == DW_OK && kind != DW_ROPE_DEFAULT)
        st = dw_fail(err, DW_E_INPUT, "rope_type \"%s\" is not supported (supported: default)",
                     kinds[kind]);
    if (st < 0)
        dw_err_prefix(err, "sliding_attention");
    return st;
}

dw_status dw_config_rope(const dw_json *root, const dw_family *f, dw_description *d, dw_err *err)
{
    const dw_json *map = NULL;
    const char *name = NULL;
    nested n = {0};
    dw_status st = DW_OK;
    d->rope = DW_ROPE_DEFAULT;
    DW_TRY(find_mapping(root, &map, &name, err));
    if (map && f->local_theta && !strcmp(name, "rope_parameters")) {
        st = find_nested(map, &n, err);
        if (st == DW_OK)
            st = check_local(n.sliding, f, err);
        map = n.full;
    }
    if (st == DW_OK)
        st = read_partial(root, map, f, d, err);
    if (st == DW_OK && map)
        st = read_mapping(root, map, f, d, err);
    if (st < 0) {
        if (name)
            dw_err_prefix(err, "%s", name);
        return st;
    }
    if (f->local_theta)
        DW_TRY(read_theta(root, n.sliding, name, "rope_local_base_freq", f->local_theta,
                          &d->local_theta, err));
    return read_theta(root, map, name, "rope_theta", f->theta, &d->rope_theta, err);
}

/* ---- frequencies ---- */

uint32_t dw_config_turned(const dw_description *d)
{
    return (uint32_t)((double)d->head_dim * d->partial_rotary) / 2 * 2;
}

static double llama3(const dw_description *d, double f)
{
    double wave = 2 * pi / f, original = d->rope_original;
    if (wave > original / d->rope_low)
        return f / d->rope_factor;
    if (wave < original / d->rope_high)
        return f;
    double smooth = (original / wave - d->rope_low) / (d->rope_high - d->rope_low);
    return (1 - smooth) * f / d->rope_factor + smooth * f;
}

/* The element whose frequency turns so many times within the original context. */
static double yarn_place(const dw_description *d, double turns)
{
    return dw_config_turned(d) * log(d->rope_original / (turns * 2 * pi)) /
           (2 * log(d->rope_theta));
}

static double yarn(const dw_description *d, double f, size_t i)
{
    double low = yarn_place(d, d->rope_high), high = yarn_place(d, d->rope_low);
    if (d->rope_round) {
        low = floor(low);
        high = ceil(high);
    }
    low = fmax(low, 0);
    high = fmin(high, (double)dw_config_turned(d) - 1);
    if (low == high)
        high += 0.001;
    double ramp = fmin(fmax(((double)i - low) / (high - low), 0), 1);
    return f / d->rope_factor * ramp + f * (1 - ramp);
}

void dw_config_inv_freq(const dw_description *d, bool local, double *inv_freq)
{
    const double theta = local ? d->local_theta : d->rope_theta;
    const uint32_t turned = dw_config_turned(d);
    for (size_t i = 0; i < turned / 2; i++) {
        double f = 1.0 / pow(theta, (double)(2 * i) / (double)turned);
        if (!local && d->rope == DW_ROPE_LINEAR)
            f /= d->rope_factor;
        if (!local && d->rope == DW_ROPE_LLAMA3)
            f = llama3(d, f);
        if (!local && d->rope == DW_ROPE_YARN)
            f = yarn(d, f, i);
        if (!local && d->rope == DW_ROPE_LONGROPE)
            f /= d->rope_divide[i];
        inv_freq[i] = f;
    }
}
