/* Checks the tables of a loaded module and copies them into zero-filled structs of our own size,
 * so that a plugin built against an older header reads as one that leaves the new fields empty. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "plug/internal.h"

/* Sizes of version 1.0: a smaller table was not made from our header. */
enum {
    PLUGIN_SIZE = 128,
    PARAM_SIZE = 64,
    OBJECTIVE_SIZE = 56,
    ESTIMATOR_SIZE = 24,
    REWARD_SIZE = 32,
    JUDGE_SIZE = 16,
    CONFIG_MAX = 1 << 20,
    PARAMS_MAX = 1000,
};

#define REFUSE(...) return dw_fail(err, DW_E_PLUGIN, __VA_ARGS__)

static void copy_table(void *to, size_t to_size, const void *from, uint32_t from_size)
{
    memset(to, 0, to_size);
    memcpy(to, from, from_size < to_size ? from_size : to_size);
}

/* "grpo", "org.example.brevity" */
static bool good_id(const char *id)
{
    if (!id || !*id || strlen(id) > 100)
        return false;
    for (const char *s = id; *s; s++) {
        bool start = s == id || s[-1] == '.';
        if (start ? !islower((unsigned char)*s)
                  : !(islower((unsigned char)*s) || isdigit((unsigned char)*s) || *s == '_' ||
                      *s == '-' || (*s == '.' && s[1])))
            return false;
    }
    return true;
}

static bool good_name(const char *s)
{
    if (!s || !islower((unsigned char)*s) || strlen(s) > 64)
        return false;
    for (; *s; s++)
        if (!islower((unsigned char)*s) && !isdigit((unsigned char)*s) && *s != '_')
            return false;
    return true;
}

/* One line that says something. */
static bool good_line(const char *s)
{
    return s && *s && strlen(s) <= 400 && !strchr(s, '\n') && dw_utf8_valid(s, strlen(s));
}

/* ---- options ---- */

static dw_status check_bounds(const char *who, const dowel_param *p, dw_err *err)
{
    bool number = dw_param_numeric(p);
    if (number && !(p->min <= p->max))
        REFUSE("%s: option '%s': the range %g .. %g is empty; give the smaller end first", who,
               p->name, p->min, p->max);
    if ((p->flags & DOWEL_TUNABLE) && !number)
        REFUSE("%s: option '%s' is tunable and of type %s, expected int or real; only a number can "
               "follow a schedule",
               who, p->name, dw_param_type_name(p->type));
    if (p->flags & ~(uint32_t)(DOWEL_TUNABLE | DOWEL_DEPRECATED))
        REFUSE("%s: option '%s' has the unknown flags 0x%x; use DOWEL_TUNABLE and "
               "DOWEL_DEPRECATED only",
               who, p->name, p->flags);
    if (p->type == DOWEL_CHOICE && (!p->choices || !p->choices[0]))
        REFUSE("%s: option '%s' is a choice without choices; list them, NULL at the end", who,
               p->name);
    return DW_OK;
}

static dw_status check_default(const char *who, const dowel_param *p, dw_err *err)
{
    if (!p->fallback)
        return DW_OK;
    dw_arena a = {0};
    dw_value v;
    dw_err why;
    dw_status s = dw_param_from_text(p, p->fallback, &a, &v, &why);
    dw_arena_finish(&a);
    if (s < 0)
        REFUSE("%s: the default of option %s; change the default or the range", who, why.text);
    return DW_OK;
}

static dw_status check_place(const char *who, const dowel_plugin *pl, const dowel_param *list,
                             uint32_t i, dw_err *err)
{
    const dowel_param *p = &list[i];
    size_t size = dw_param_bytes(p->type);
    if (p->offset > pl->config_size || pl->config_size - p->offset < size || p->offset % size)
        REFUSE("%s: option '%s' lies at byte %u of a struct of %u bytes; fill the table with "
               "DOWEL_OPT_* and DOWEL_OPTIONS()",
               who, p->name, p->offset, pl->config_size);
    for (uint32_t j = 0; j < i; j++) {
        if (!strcmp(list[j].name, p->name))
            REFUSE("%s: two options are called '%s'; rename one", who, p->name);
        if (p->offset < list[j].offset + dw_param_bytes(list[j].type) &&
            list[j].offset < p->offset + size)
            REFUSE("%s: options '%s' and '%s' share byte %u of the struct; give each a field", who,
                   list[j].name, p->name, p->offset > list[j].offset ? p->offset : list[j].offset);
    }
    return DW_OK;
}

static dw_status check_params(const char *who, const dowel_plugin *pl, const dowel_param *list,
                              dw_err *err)
{
    for (uint32_t i = 0; i < pl->n_params; i++) {
        const dowel_param *p = &list[i];
        if (!good_name(p->name))
            REFUSE("%s: option %u is called '%.64s', expected [a-z][a-z0-9_]*; rename it", who, i,
                   p->name ? p->name : "");
        if (!dw_param_bytes(p->type))
            REFUSE("%s: option '%s' has type %u, expected 1 .. 7; use DOWEL_OPT_*", who, p->name,
                   p->type);
        if (!good_line(p->doc))
            REFUSE("%s: option '%s' has no description; write one sentence", who, p->name);
        DW_TRY(check_bounds(who, p, err));
        DW_TRY(check_place(who, pl, list, i, err));
        DW_TRY(check_default(who, p, err));
    }
    return DW_OK;
}

/* Our copy of the option table, in our stride. */
static dw_status copy_params(const char *who, dowel_plugin *pl, dw_err *err)
{
    if (pl->n_params == 0) {
        pl->params = NULL;
        return DW_OK;
    }
    if (!pl->params || pl->param_size < PARAM_SIZE || pl->n_params > PARAMS_MAX)
        REFUSE("%s: an option table of %u rows of %u bytes, expected at most %d rows of at least "
               "%d; fill it with DOWEL_OPTIONS()",
               who, pl->n_params, pl->param_size, PARAMS_MAX, PARAM_SIZE);
    if (pl->config_size > CONFIG_MAX)
        REFUSE("%s: the struct of options has %u bytes, at most %d are allowed; keep data out of "
               "it",
               who, pl->config_size, CONFIG_MAX);
    dowel_param *list = dw_zalloc(pl->n_params, sizeof *list);
    for (uint32_t i = 0; i < pl->n_params; i++)
        copy_table(&list[i], sizeof *list, (const char *)pl->params + (size_t)i * pl->param_size,
                   pl->param_size);
    dw_status s = check_params(who, pl, list, err);
    if (s < 0) {
        dw_free(list);
        return s;
    }
    pl->params = list;
    pl->param_size = sizeof *list;
    return DW_OK;
}

/* ---- kinds ---- */

static dw_status check_size(const char *who, const char *table, uint32_t found, uint32_t wanted,
                            dw_err *err)
{
    if (found < wanted)
        REFUSE("%s: dowel_%s has %u bytes, expected at least %u; set .size = sizeof it", who, table,
               found, wanted);
    return DW_OK;
}

static dw_status missing(const char *who, const char *kind, const char *function, dw_err *err)
{
    REFUSE("%s: the %s has no %s(), which it must have; add it", who, kind, function);
}

static dw_status copy_objective(const char *who, dw_plugin_info *p, dw_err *err)
{
    const dowel_objective *from = p->plugin.objective;
    if (!from)
        return DW_OK;
    DW_TRY(check_size(who, "objective", from->size, OBJECTIVE_SIZE, err));
    copy_table(&p->objective, sizeof p->objective, from, from->size);
    const dowel_objective *o = p->plugin.objective = &p->objective;
    if (!o->observe)
        return missing(who, "objective", "observe", err);
    if (!o->loss)
        return missing(who, "objective", "loss", err);
    if (o->feeds_on == 0 || o->feeds_on >= DOWEL_STEPS * 2u)
        REFUSE("%s: the objective feeds on 0x%x, expected one or more of DOWEL_TEXTS .. "
               "DOWEL_STEPS; set .feeds_on",
               who, o->feeds_on);
    if (o->n_total > 0 && !o->survey)
        return missing(who, "objective with totals", "survey", err);
    if (o->n_tally > 0 && !o->step_end)
        return missing(who, "objective with tallies", "step_end", err);
    if (o->n_total > 65536 || o->n_tally > 65536)
        REFUSE("%s: the objective wants %u totals and %u tallies, at most 65536 are allowed", who,
               o->n_total, o->n_tally);
    return DW_OK;
}

static dw_status copy_others(const char *who, dw_plugin_info *p, dw_err *err)
{
    dowel_plugin *pl = &p->plugin;
    if (pl->estimator) {
        DW_TRY(check_size(who, "estimator", pl->estimator->size, ESTIMATOR_SIZE, err));
        copy_table(&p->estimator, sizeof p->estimator, pl->estimator, pl->estimator->size);
        pl->estimator = &p->estimator;
        if (!p->estimator.estimate)
            return missing(who, "estimator", "estimate", err);
    }
    if (pl->reward) {
        DW_TRY(check_size(who, "reward", pl->reward->size, REWARD_SIZE, err));
        copy_table(&p->reward, sizeof p->reward, pl->reward, pl->reward->size);
        pl->reward = &p->reward;
        if (!p->reward.score)
            return missing(who, "reward", "score", err);
        if (!(p->reward.lowest <= p->reward.highest))
            REFUSE("%s: the reward declares scores from %g to %g; give the smaller end first", who,
                   p->reward.lowest, p->reward.highest);
    }
    if (pl->judge) {
        DW_TRY(check_size(who, "judge", pl->judge->size, JUDGE_SIZE, err));
        copy_table(&p->judge, sizeof p->judge, pl->judge, pl->judge->size);
        pl->judge = &p->judge;
        if (!p->judge.compare)
            return missing(who, "judge", "compare", err);
    }
    return DW_OK;
}

/* ---- plugins ---- */

static dw_status check_plugin(const char *who, const dowel_plugin *pl, dw_err *err)
{
    if (!good_line(pl->version) || strlen(pl->version) > 32)
        REFUSE("%s: no version, expected a text such as \"1.0.0\"; give it in DOWEL_PLUGIN()", who);
    if (!good_line(pl->about))
        REFUSE("%s: no description, expected one sentence; give it in DOWEL_PLUGIN()", who);
    if (pl->flags & ~(uint32_t)(DOWEL_PURE | DOWEL_REENTRANT))
        REFUSE("%s: unknown flags 0x%x; use DOWEL_PURE and DOWEL_REENTRANT only", who, pl->flags);
    if (!pl->objective && !pl->estimator && !pl->reward && !pl->judge)
        REFUSE("%s: neither objective nor estimator, reward or judge; set at least one of them",
               who);
    if (!pl->save != !pl->load)
        REFUSE("%s: %s() without %s(); a plugin has both or neither", who,
               pl->save ? "save" : "load", pl->save ? "load" : "save");
    return DW_OK;
}

static dw_status copy_plugin(const char *file, const dowel_plugin *from, uint32_t nth,
                             dw_plugin_info *p, dw_err *err)
{
    if (!from)
        REFUSE("%s: plugin %u of its list is NULL; name it in DOWEL_MODULE()", file, nth);
    if (from->size < PLUGIN_SIZE)
        REFUSE("%s: dowel_plugin has %u bytes, expected at least %d; fill it with DOWEL_PLUGIN()",
               file, from->size, PLUGIN_SIZE);
    copy_table(&p->plugin, sizeof p->plugin, from, from->size);
    if (!good_id(p->plugin.id))
        REFUSE("%s: the id '%.100s' is not well formed, expected lower case as in \"grpo\" or "
               "\"org.example.name\"; rename it",
               file, p->plugin.id ? p->plugin.id : "");
    char who[4200];
    snprintf(who, sizeof who, "%s: %s", file, p->plugin.id);
    DW_TRY(check_plugin(who, &p->plugin, err));
    DW_TRY(copy_objective(who, p, err));
    DW_TRY(copy_others(who, p, err));
    return copy_params(who, &p->plugin, err);
}

dw_status dw_tables_copy(const char *file, const dowel_module *m, dw_plugin_info **info, size_t *n,
                         dw_err *err)
{
    if (m->n_plugins > 256)
        REFUSE("%s: claims %u plugins, at most 256 are allowed; use DOWEL_MODULE()", file,
               m->n_plugins);
    dw_plugin_info *list = dw_zalloc(m->n_plugins, sizeof *list);
    dw_status s = DW_OK;
    uint32_t done = 0; /* those whose option table is ours */
    while (s == DW_OK && done < m->n_plugins) {
        s = copy_plugin(file, m->plugins[done], done, &list[done], err);
        if (s < 0)
            break;
        for (uint32_t j = 0; s == DW_OK && j < done; j++)
            if (!strcmp(list[j].plugin.id, list[done].plugin.id))
                s = dw_fail(err, DW_E_PLUGIN, "%s: two of its plugins are called '%s'; rename one",
                            file, list[done].plugin.id);
        done++;
    }
    if (s < 0) {
        for (uint32_t i = 0; i < done; i++)
            dw_free((void *)list[i].plugin.params);
        dw_free(list);
        return s;
    }
    *info = list;
    *n = m->n_plugins;
    return DW_OK;
}
