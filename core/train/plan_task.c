/* Reads and checks one task of a plan: its data, rollout, rewards, objectives and evaluation. */
#include "train/plan_task.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/order.h"
#include "train/plan_rollout.h"

const char *const dw_plan_types[] = {"texts",  "completions", "pairs", "prompts",
                                     "labels", "steps",       "lists", NULL};
const char *const dw_plan_on_bad[] = {"error", "skip", NULL};
const char *const dw_plan_on_long[] = {"drop", "cut_prompt", "error", NULL};

enum { MAX_TOKENS = 1 << 22 };

static int by_key(const void *a, const void *b)
{
    return strcmp(dw_json_key(*(const dw_json *const *)a), dw_json_key(*(const dw_json *const *)b));
}

const dw_json **dw_plan_sorted(const dw_fields *f, const dw_json *obj, size_t *n)
{
    size_t len = dw_json_len(obj);
    const dw_json **list = dw_arena_alloc(f->arena, (len + 1) * sizeof *list);
    *n = 0;
    for (const dw_json *m = dw_json_first(obj); m; m = dw_json_next(m))
        list[(*n)++] = m;
    qsort(list, *n, sizeof *list, by_key);
    return list;
}

dw_status dw_plan_function(const dw_fields *f, const char *key, const dw_json *functions,
                           const char *name, const char *kind)
{
    const dw_json *v = functions ? dw_json_get(functions, name) : NULL;
    if (!v)
        return dw_fields_fail(f, key, "no function '%s' in 'functions'", name);
    if (dw_json_kind(v) != DW_JSON_STRING || !dw_text_is(dw_json_str(v), kind))
        return dw_fields_fail(f, key, "function '%s' is not of the kind '%s'", name, kind);
    return DW_OK;
}

/* "{a} {{b}}": every brace is doubled or part of a field's name. */
static dw_status check_format(const dw_fields *f, const char *format)
{
    bool any = false;
    for (const char *p = format; *p; p++) {
        if ((*p == '{' || *p == '}') && p[1] == *p) {
            p++;
        } else if (*p == '}') {
            return dw_fields_fail(f, NULL, "format '%s' has a '}' without '{' (write }} for one)",
                                  format);
        } else if (*p == '{') {
            size_t n = strcspn(p + 1, "{}");
            if (!n || p[1 + n] != '}')
                return dw_fields_fail(f, NULL, "format '%s' has a '{' %s (write {{ for one)",
                                      format, n ? "without '}'" : "without a field's name");
            p += 1 + n;
            any = true;
        }
    }
    return any ? DW_OK
               : dw_fields_fail(f, NULL, "format '%s' names no field of the row, as {name} does",
                                format);
}

dw_status dw_plan_column(const dw_fields *columns, const char *key, const char *kind,
                         const dw_json *functions, dw_column *out)
{
    static const char *const keys[] = {"field", "format", "lua", NULL};
    const dw_json *v = dw_fields_get(columns, key);
    if (!v)
        return DW_OK;
    dw_fields f;
    DW_TRY(dw_fields_open(columns, v, dw_fields_path(columns, key), keys, &f));
    if (dw_json_len(v) != 1)
        return dw_fields_fail(&f, NULL, "expected one of 'field', 'format', 'lua'");
    if (dw_json_get(v, "field"))
        return dw_fields_str(&f, "field", NULL, &out->field);
    if (dw_json_get(v, "format")) {
        DW_TRY(dw_fields_str(&f, "format", NULL, &out->format));
        return check_format(&f, out->format);
    }
    DW_TRY(dw_fields_str(&f, "lua", NULL, &out->lua));
    return dw_plan_function(&f, NULL, functions, out->lua, kind);
}

static dw_status parse_columns(const dw_fields *data, const dw_json *functions, dw_data_spec *s)
{
    const char *keys[DW_N_DATA_COLUMN + 1];
    size_t n = 0;
    const dw_json *v = dw_fields_get(data, "columns");
    if (!v)
        return DW_OK;
    for (int c = 0; c < DW_N_DATA_COLUMN; c++)
        if (dw_data_has(s->type, (dw_data_column)c))
            keys[n++] = dw_data_column_name((dw_data_column)c);
    keys[n] = NULL;
    dw_fields f;
    DW_TRY(dw_fields_open(data, v, dw_fields_path(data, "columns"), keys, &f));
    for (int c = 0; c < DW_N_DATA_COLUMN; c++)
        DW_TRY(dw_plan_column(&f, dw_data_column_name((dw_data_column)c),
                              dw_data_is_text((dw_data_column)c) ? "row" : "value", functions,
                              &s->column[c]));
    if (s->column[DW_COL_RANKS].field && s->column[DW_COL_SCORES].field)
        return dw_fields_fail(&f, NULL, "lists are ordered by 'ranks' or by 'scores', not by both");
    return DW_OK;
}

static dw_status parse_separator(const dw_fields *f, dw_data_spec *s)
{
    if (!dw_fields_get(f, "separator"))
        return DW_OK;
    if (s->type != DW_STEPS)
        return dw_fields_fail(f, "separator", "only steps have one, this data is %s",
                              dw_plan_types[s->type]);
    return dw_fields_str(f, "separator", NULL, &s->separator);
}

static dw_status parse_split(const dw_fields *f, dw_data_spec *s)
{
    const dw_column *prompt = &s->column[DW_COL_PROMPT];
    if (!dw_fields_get(f, "split_marker"))
        return DW_OK;
    DW_TRY(dw_fields_str(f, "split_marker", NULL, &s->split_marker));
    if (s->type != DW_PAIRS)
        return dw_fields_fail(f, "split_marker", "only pairs are split, this data is %s",
                              dw_plan_types[s->type]);
    if (prompt->field || prompt->format || prompt->lua)
        return dw_fields_fail(f, "split_marker", "pairs with a prompt column are not split");
    return DW_OK;
}

const char *const dw_plan_layouts[] = {"none", "sharegpt", "alpaca", NULL};
const char *const dw_plan_loss_on[] = {"assistant", "all", NULL};

static bool is_set(const dw_column *c)
{
    return c->field || c->format || c->lua;
}

/* What a layout's columns are called is said for that layout only. */
static dw_status check_layout(const dw_fields *f, const dw_data_spec *s)
{
    for (int c = DW_COL_SYSTEM; c <= DW_COL_HISTORY; c++)
        if (is_set(&s->column[c]) &&
            (c == DW_COL_SYSTEM ? !s->layout : s->layout != DW_ROWS_ALPACA))
            return dw_fields_fail(f, "columns", "'%s' is a column of layout = \"%s\"",
                                  dw_data_column_name((dw_data_column)c),
                                  c == DW_COL_SYSTEM ? "sharegpt" : "alpaca");
    if (s->layout && (s->type == DW_STEPS || s->type == DW_LISTS))
        return dw_fields_fail(f, "layout", "%s have no layout of their own",
                              dw_plan_types[s->type]);
    if (s->layout == DW_ROWS_ALPACA && is_set(&s->column[DW_COL_MESSAGES]))
        return dw_fields_fail(f, "columns", "layout = \"alpaca\" has no column 'messages'");
    if (is_set(&s->column[DW_COL_MESSAGES]) && !s->column[DW_COL_MESSAGES].field)
        return dw_fields_fail(f, "columns.messages", "expected the name of a field");
    return DW_OK;
}

/* How rows of messages are read and written. */
static dw_status parse_talk(const dw_fields *f, dw_data_spec *s)
{
    int layout, loss;
    DW_TRY(dw_fields_choice(f, "layout", dw_plan_layouts, DW_ROWS_NONE, &layout));
    DW_TRY(dw_fields_choice(f, "loss_on", dw_plan_loss_on, DW_LOSS_ASSISTANT, &loss));
    s->layout = (dw_row_layout)layout;
    s->loss_on = (dw_loss_on)loss;
    if (dw_fields_get(f, "template"))
        DW_TRY(dw_fields_str(f, "template", NULL, &s->template_file));
    if (s->template_file && s->template_file[0] != '/')
        return dw_fields_fail(f, "template", "'%s' is not an absolute path", s->template_file);
    if (dw_fields_get(f, "role_key"))
        DW_TRY(dw_fields_str(f, "role_key", NULL, &s->role_key));
    if (dw_fields_get(f, "content_key"))
        DW_TRY(dw_fields_str(f, "content_key", NULL, &s->content_key));
    return check_layout(f, s);
}

const char *const dw_plan_splits[] = {"train", "valid", "test", NULL};
const char *const dw_plan_duplicates[] = {"keep", "drop", NULL};
const char *const dw_plan_overlaps[] = {"keep", "drop", "error", NULL};

/* Which of a file's rows are read, and what strange ones mean. */
static dw_status parse_choice(const dw_fields *f, dw_plan_data *out)
{
    dw_data_spec *s = &out->spec;
    int bad, split, duplicates, overlap;
    DW_TRY(dw_fields_choice(f, "on_bad_row", dw_plan_on_bad, 0, &bad));
    DW_TRY(dw_fields_num(f, "max_bad", 0, 0, INT32_MAX, &s->max_bad));
    DW_TRY(dw_fields_choice(f, "split", dw_plan_splits, 0, &split));
    DW_TRY(dw_fields_num(f, "holdout", 0, 0, 1, &s->holdout));
    DW_TRY(dw_fields_bool(f, "held", false, &s->held));
    DW_TRY(dw_fields_choice(f, "duplicates", dw_plan_duplicates, 0, &duplicates));
    DW_TRY(dw_fields_choice(f, "overlap", dw_plan_overlaps, 0, &overlap));
    DW_TRY(dw_fields_num(f, "fraction", 1, 0, INFINITY, &out->fraction));
    s->on_bad = (dw_on_bad)bad;
    s->split = dw_plan_splits[split];
    s->on_duplicate = (dw_on_duplicate)duplicates;
    out->overlap = (size_t)overlap;
    if (s->max_bad > 0 && s->on_bad != DW_BAD_SKIP)
        return dw_fields_fail(f, "max_bad", "only where bad rows are skipped (on_bad_row)");
    if (s->held && !s->holdout)
        return dw_fields_fail(f, "held", "nothing is set aside: say which share (holdout = 0.05)");
    if (s->holdout == 1)
        return dw_fields_fail(f, "holdout", "expected a share below 1");
    if (out->fraction <= 0)
        return dw_fields_fail(f, "fraction", "expected a number above 0");
    return DW_OK;
}

static dw_status parse_data_at(const dw_fields *owner, const dw_json *v, const char *path,
                               const dw_json *functions, dw_plan_data *out);

/* The further sources of a mixture. */
static dw_status parse_also(const dw_fields *f, const dw_json *functions, dw_plan_data *out)
{
    const dw_json *list = dw_fields_get(f, "also");
    if (!list)
        return DW_OK;
    if (dw_json_kind(list) != DW_JSON_ARRAY)
        return dw_fields_fail(f, "also", "expected a list, got %s", dw_json_kind_name(list));
    if (dw_json_len(list) >= DW_MIXTURE_MAX)
        return dw_fields_fail(f, "also", "a mixture has at most %d sources", DW_MIXTURE_MAX);
    dw_plan_data *d = dw_arena_alloc(f->arena, (dw_json_len(list) + 1) * sizeof *d);
    size_t n = 0;
    for (const dw_json *e = dw_json_first(list); e; e = dw_json_next(e), n++) {
        char *path = dw_arena_printf(f->arena, "%s.%zu", dw_fields_path(f, "also"), n);
        DW_TRY(parse_data_at(f, e, path, functions, &d[n]));
        if (d[n].n_also || d[n].spec.type != out->spec.type)
            return dw_fields_fail(f, "also", "every source of a mixture is plain data of one type");
        const char *a = d[n].spec.template_file, *b = out->spec.template_file;
        if ((a == NULL) != (b == NULL) || (a && strcmp(a, b) != 0))
            return dw_fields_fail(f, "also", "the sources of a mixture share one template");
    }
    out->also = d;
    out->n_also = n;
    return DW_OK;
}

static dw_status parse_data(const dw_fields *owner, const dw_json *functions, dw_plan_data *out)
{
    return parse_data_at(owner, dw_fields_get(owner, "data"), dw_fields_path(owner, "data"),
                         functions, out);
}

static dw_status parse_data_at(const dw_fields *owner, const dw_json *v, const char *path,
                               const dw_json *functions, dw_plan_data *out)
{
    static const char *const keys[] = {
        "type",       "files",    "columns",     "split_marker", "add_eos",   "add_bos",  "shuffle",
        "max_tokens", "max_rows", "on_bad_row",  "on_long",      "separator", "template", "layout",
        "loss_on",    "role_key", "content_key", "max_bad",      "split",     "holdout",  "held",
        "duplicates", "overlap",  "fraction",    "also",         "map",       NULL};
    dw_data_spec *s = &out->spec;
    dw_fields f;
    int type, too_long;
    int64_t n;
    DW_TRY(dw_fields_open(owner, v, path, keys, &f));
    if (!dw_fields_get(&f, "type"))
        return dw_fields_fail(&f, "type",
                              "missing (texts, completions, pairs, prompts, "
                              "labels, steps or lists)");
    DW_TRY(dw_fields_choice(&f, "type", dw_plan_types, 0, &type));
    s->type = (dw_data_type)type;
    DW_TRY(dw_fields_list(&f, "files", &s->file, &s->n_file));
    if (!s->n_file)
        return dw_fields_fail(&f, "files", "expected at least one file");
    for (size_t i = 0; i < s->n_file; i++)
        if (s->file[i][0] != '/')
            return dw_fields_fail(&f, "files", "'%s' is not an absolute path", s->file[i]);
    DW_TRY(parse_columns(&f, functions, s));
    if (dw_fields_get(&f, "map")) {
        DW_TRY(dw_fields_str(&f, "map", NULL, &s->map));
        DW_TRY(dw_plan_function(&f, "map", functions, s->map, "value"));
    }
    DW_TRY(parse_split(&f, s));
    DW_TRY(parse_separator(&f, s));
    DW_TRY(parse_talk(&f, s));
    DW_TRY(dw_fields_bool(&f, "add_eos", s->type != DW_STEPS, &s->add_eos));
    DW_TRY(dw_fields_bool(&f, "add_bos", true, &s->add_bos));
    DW_TRY(dw_fields_bool(&f, "shuffle", true, &out->shuffle));
    DW_TRY(dw_fields_int(&f, "max_tokens", 0, 0, MAX_TOKENS, &n));
    s->max_tokens = (uint32_t)n;
    DW_TRY(dw_fields_int(&f, "max_rows", 0, 0, INT32_MAX, &n));
    s->max_rows = (uint32_t)n;
    DW_TRY(parse_choice(&f, out));
    DW_TRY(dw_fields_choice(&f, "on_long", dw_plan_on_long, 0, &too_long));
    s->on_long = (dw_on_long)too_long;
    return parse_also(&f, functions, out);
}

const char *const dw_plan_step_totals[] = {"none", "min", "prod", "mean", "last", NULL};

static const char *const reward_keys[] = {"weight", "plugin",    "options", "lua",      "model",
                                          "signed", "separator", "steps",   "implicit", NULL};
static const char *const objective_keys[] = {"weight", "plugin", "options", NULL};
static const char *const estimator_keys[] = {"plugin", "options", NULL};

/* What is said about a model as a reward; which one, plan_models.c finds out. */
static dw_status parse_scorer(const dw_fields *f, dw_plan_use *out)
{
    int steps;
    DW_TRY(dw_fields_bool(f, "signed", false, &out->is_signed));
    DW_TRY(dw_fields_bool(f, "implicit", false, &out->implicit));
    DW_TRY(dw_fields_choice(f, "steps", dw_plan_step_totals, DW_STEPS_NONE, &steps));
    out->steps = (dw_step_total)steps;
    if (dw_fields_get(f, "separator"))
        DW_TRY(dw_fields_str(f, "separator", NULL, &out->separator));
    if (out->separator && !*out->separator)
        return dw_fields_fail(f, "separator", "is empty; steps end with at least one character");
    bool about_steps = out->is_signed || out->separator || out->steps != DW_STEPS_NONE;
    if (out->implicit && about_steps)
        return dw_fields_fail(f, "implicit",
                              "every token has its own reward, so 'signed', 'separator' and "
                              "'steps' say nothing");
    return DW_OK;
}

static dw_status check_scorer_keys(const dw_fields *f)
{
    static const char *const only[] = {"signed", "separator", "steps", "implicit"};
    for (size_t i = 0; i < sizeof only / sizeof *only; i++)
        if (dw_fields_get(f, only[i]))
            return dw_fields_fail(f, only[i], "only a reward that is a model's has it");
    return DW_OK;
}

static dw_status parse_use(const dw_fields *owner, const dw_json *v, const char *path,
                           const char *const *keys, const dw_json *functions, dw_plan_use *out)
{
    dw_fields f;
    DW_TRY(dw_fields_open(owner, v, path, keys, &f));
    /* A reward may be a penalty; a loss is only ever made smaller. */
    double lowest = keys == reward_keys ? -INFINITY : 0.0;
    out->model = DW_NO_MODEL;
    DW_TRY(dw_fields_num(&f, "weight", 1.0, lowest, INFINITY, &out->weight));
    if (dw_fields_get(&f, "lua")) {
        DW_TRY(dw_fields_str(&f, "lua", NULL, &out->lua));
        if (dw_fields_get(&f, "plugin") || dw_fields_get(&f, "options"))
            return dw_fields_fail(&f, NULL, "a Lua reward has neither 'plugin' nor 'options'");
        return dw_plan_function(&f, "lua", functions, out->lua, "reward");
    }
    if (dw_fields_get(&f, "model")) { /* which one: plan_models.c */
        if (dw_fields_get(&f, "plugin") || dw_fields_get(&f, "options"))
            return dw_fields_fail(&f, NULL, "a model's score has neither 'plugin' nor 'options'");
        return parse_scorer(&f, out);
    }
    if (keys == reward_keys)
        DW_TRY(check_scorer_keys(&f));
    DW_TRY(dw_fields_str(&f, "plugin", NULL, &out->plugin));
    out->options = dw_fields_get(&f, "options");
    if (out->options && dw_json_kind(out->options) != DW_JSON_OBJECT)
        return dw_fields_fail(&f, "options", "expected a table, got %s",
                              dw_json_kind_name(out->options));
    return DW_OK;
}

static dw_status parse_uses(const dw_fields *task, const char *key, const char *const *keys,
                            const dw_json *functions, const dw_plan_use **out, size_t *n)
{
    const dw_json *v = dw_fields_get(task, key);
    *n = 0;
    if (!v)
        return DW_OK;
    if (dw_json_kind(v) != DW_JSON_OBJECT)
        return dw_fields_fail(task, key, "expected a table, got %s", dw_json_kind_name(v));
    dw_fields group = {v, dw_fields_path(task, key), task->arena, task->err};
    const dw_json **member = dw_plan_sorted(task, v, n);
    dw_plan_use *use = dw_arena_alloc(task->arena, (*n + 1) * sizeof *use);
    for (size_t i = 0; i < *n; i++) {
        use[i].name = dw_json_key(member[i]);
        if (!dw_fields_is_name(use[i].name))
            return dw_fields_fail(&group, NULL,
                                  "'%s' is not a name (a letter, then letters, digits, _ and -)",
                                  use[i].name);
        DW_TRY(parse_use(&group, member[i], dw_fields_path(&group, use[i].name), keys, functions,
                         &use[i]));
    }
    *out = use;
    return DW_OK;
}

static dw_status parse_eval(const dw_fields *task, const dw_json *functions, dw_plan_task *out)
{
    static const char *const keys[] = {"data",    "every",   "patience", "metric",
                                       "greater", "samples", "at_start", NULL};
    const dw_json *v = dw_fields_get(task, "eval");
    if (!v)
        return DW_OK;
    dw_plan_eval *e = dw_arena_alloc(task->arena, sizeof *e);
    dw_fields f;
    int64_t n;
    DW_TRY(dw_fields_open(task, v, dw_fields_path(task, "eval"), keys, &f));
    DW_TRY(parse_data(&f, functions, &e->data));
    if (e->data.spec.type != out->data.spec.type)
        return dw_fields_fail(&f, "data", "expected %s as in the task's own data, got %s",
                              dw_plan_types[out->data.spec.type], dw_plan_types[e->data.spec.type]);
    DW_TRY(dw_fields_int(&f, "every", 50, 1, INT32_MAX, &n));
    e->every = (uint32_t)n;
    DW_TRY(dw_fields_int(&f, "patience", 0, 0, INT32_MAX, &n));
    e->patience = (uint32_t)n;
    DW_TRY(dw_fields_int(&f, "samples", 1, 1, 4096, &n));
    e->samples = (uint32_t)n;
    DW_TRY(dw_fields_str(&f, "metric", out->rollout ? "reward" : "loss", &e->metric));
    size_t len = strlen(e->metric);
    bool loss = len >= 4 && !strcmp(e->metric + len - 4, "loss");
    DW_TRY(dw_fields_bool(&f, "greater", !loss, &e->greater));
    DW_TRY(dw_fields_bool(&f, "at_start", true, &e->at_start));
    out->eval = e;
    return DW_OK;
}

static dw_status check_task(const dw_fields *f, const dw_plan_task *t)
{
    bool prompts = t->data.spec.type == DW_PROMPTS;
    if (!t->n_objective)
        return dw_fields_fail(f, "objectives", "expected at least one objective");
    if (prompts && !t->rollout)
        return dw_fields_fail(f, "rollout", "missing: prompts have no answers, so they need one");
    if (t->rollout && !prompts)
        return dw_fields_fail(f, "rollout", "a rollout starts from prompts, but the data is %s",
                              dw_plan_types[t->data.spec.type]);
    DW_TRY(dw_plan_rollout_check(f, t));
    if (!t->rollout && t->n_reward)
        return dw_fields_fail(f, "rewards", "rewards score a rollout, and this task has none");
    if (!t->rollout && t->estimator)
        return dw_fields_fail(f, "estimator", "an estimator needs a rollout, this task has none");
    return DW_OK;
}

dw_status dw_plan_task_parse(const dw_fields *tasks, const dw_json *v, const dw_json *functions,
                             dw_plan_task *out)
{
    static const char *const keys[] = {
        "data",  "rows",   "rollout",   "rewards", "estimator",        "objectives",     "eval",
        "model", "critic", "reference", "teacher", "reference_update", "teacher_update", NULL};
    dw_fields f;
    int64_t n;
    out->name = dw_json_key(v);
    if (!dw_fields_is_name(out->name) || !strcmp(out->name, "steps") ||
        !strcmp(out->name, "epochs"))
        return dw_fields_fail(tasks, NULL,
                              "'%s' cannot name a task (a letter, then letters, digits, _ and -; "
                              "not 'steps' or 'epochs')",
                              out->name);
    DW_TRY(dw_fields_open(tasks, v, dw_fields_path(tasks, out->name), keys, &f));
    DW_TRY(parse_data(&f, functions, &out->data));
    DW_TRY(dw_fields_int(&f, "rows", 8, 1, 65536, &n));
    out->rows = (uint32_t)n;
    DW_TRY(dw_plan_rollout_parse(&f, functions, &out->rollout));
    DW_TRY(parse_uses(&f, "rewards", reward_keys, functions, &out->reward, &out->n_reward));
    const dw_json *e = dw_fields_get(&f, "estimator");
    if (e) {
        dw_plan_use *use = dw_arena_alloc(f.arena, sizeof *use);
        DW_TRY(parse_use(&f, e, dw_fields_path(&f, "estimator"), estimator_keys, NULL, use));
        use->name = "estimator";
        out->estimator = use;
    }
    DW_TRY(parse_uses(&f, "objectives", objective_keys, NULL, &out->objective, &out->n_objective));
    DW_TRY(parse_eval(&f, functions, out));
    return check_task(&f, out);
}
