/* Methods of everything but strings: what only reads. */
#include <string.h>

#include "text/jinja/exec.h"

static dw_status view(dw_jrun *r, const dw_jdict *d, const char *name, dw_jvalue *out)
{
    const char what = name[0];
    DW_TRY(dw_jlist_new(r, DW_J_VIEW, d->n, out));
    out->list->name = what == 'k' ? "dict_keys" : what == 'v' ? "dict_values" : "dict_items";
    for (size_t i = 0; i < d->n; i++) {
        dw_jvalue *to = &out->list->item[i];
        if (what != 'i') {
            *to = what == 'k' ? d->pair[i].key : d->pair[i].value;
            continue;
        }
        DW_TRY(dw_jlist_new(r, DW_J_TUPLE, 2, to));
        to->list->item[0] = d->pair[i].key;
        to->list->item[1] = d->pair[i].value;
    }
    return DW_OK;
}

static dw_status dict_call(dw_jrun *r, const dw_jvalue *self, const char *name, dw_jargs *a,
                           dw_jvalue *out)
{
    dw_jvalue o[DW_JCALL_MOST], *found;
    if (!strcmp(name, "get")) {
        DW_TRY(dw_jcall_bind(r, "get", a, "key default", 1, o));
        DW_TRY(dw_jdict_find(r, self->dict, &o[0], &found));
        *out = found ? *found : o[1].kind == DW_J_MISSING ? dw_jnone() : o[1];
        return DW_OK;
    }
    if (!strcmp(name, "fromkeys"))
        return dw_jfail(r, DW_E_INPUT, "dict.fromkeys is not supported");
    DW_TRY(dw_jcall_bind(r, name, a, "", 0, o));
    if (strcmp(name, "copy") != 0)
        return view(r, self->dict, name, out);
    DW_TRY(dw_jdict_new(r, DW_J_DICT, out));
    for (size_t i = 0; i < self->dict->n; i++)
        DW_TRY(dw_jdict_set(r, out->dict, self->dict->pair[i].key, self->dict->pair[i].value));
    return DW_OK;
}

static dw_status list_call(dw_jrun *r, const dw_jvalue *self, const char *name, dw_jargs *a,
                           dw_jvalue *out)
{
    dw_jvalue o[DW_JCALL_MOST];
    int64_t n = 0;
    if (!strcmp(name, "copy"))
        return dw_jiter_list(r, self, out);
    DW_TRY(dw_jcall_bind(r, name, a, "value", 1, o));
    for (size_t i = 0; i < self->list->n; i++) {
        bool same;
        DW_TRY(dw_jvalue_equal(r, &self->list->item[i], &o[0], &same));
        if (same && name[0] == 'i') {
            *out = dw_jint((int64_t)i);
            return DW_OK;
        }
        n += same;
    }
    *out = dw_jint(n);
    return name[0] == 'i' ? dw_jfail(r, DW_E_INPUT, "the value is not in the list") : DW_OK;
}

static dw_status cycler_call(dw_jrun *r, const dw_jvalue *self, const char *name, dw_jargs *a,
                             dw_jvalue *out)
{
    dw_jvalue o[DW_JCALL_MOST];
    dw_jlist *l = self->list;
    DW_TRY(dw_jcall_bind(r, name, a, "", 0, o));
    *out = dw_jnone();
    if (!strcmp(name, "reset")) {
        l->at = 0;
        return DW_OK;
    }
    *out = l->item[l->at];
    l->at = (l->at + 1) % l->n;
    return DW_OK;
}

static bool one_of(const char *name, const char *words)
{
    const size_t n = strlen(name);
    for (const char *p = words; (p = strstr(p, name)); p += n)
        if ((p == words || p[-1] == ' ') && (p[n] == ' ' || !p[n]))
            return true;
    return false;
}

bool dw_jmethod_has(const dw_jvalue *self, const char *name, bool *unsafe)
{
    *unsafe = false;
    if (!*name || strchr(name, ' '))
        return false;
    switch (self->kind) {
    case DW_J_STR:
        return dw_jstrings_has(name);
    case DW_J_DICT:
        *unsafe = one_of(name, "clear pop popitem setdefault update");
        return *unsafe || one_of(name, "get keys values items copy fromkeys");
    case DW_J_LIST:
        *unsafe = one_of(name, "append clear pop reverse insert sort extend remove");
        return *unsafe || one_of(name, "index count copy");
    case DW_J_TUPLE:
        return one_of(name, "index count");
    case DW_J_LOOP:
        return one_of(name, "cycle changed");
    case DW_J_CYCLER:
        return one_of(name, "next reset");
    default:
        return false;
    }
}

dw_status dw_jmethod_call(dw_jrun *r, const dw_jvalue *self, const char *name, dw_jargs *a,
                          dw_jvalue *out)
{
    DW_TRY(dw_jrun_spend(r, 1));
    switch (self->kind) {
    case DW_J_STR:
        return dw_jstrings_call(r, &self->s, name, a, out);
    case DW_J_DICT:
        return dict_call(r, self, name, a, out);
    case DW_J_LIST:
    case DW_J_TUPLE:
        return list_call(r, self, name, a, out);
    case DW_J_LOOP:
        return dw_jloop_call(r, self->loop, name, a, out);
    default:
        return cycler_call(r, self, name, a, out);
    }
}
