/* A field of a data row by dotted path, as a piece of the row's own text. */
#include <stdlib.h>
#include <string.h>

#include "plug/internal.h"

/* The text was parsed before, so the walk below only has to find where values end. */
static const char *skip_space(const char *s, const char *end)
{
    while (s < end && (*s == ' ' || *s == '\t' || *s == '\n' || *s == '\r'))
        s++;
    return s;
}

static const char *skip_string(const char *s, const char *end)
{
    for (s++; s < end && *s != '"'; s++)
        if (*s == '\\')
            s++;
    return s < end ? s + 1 : end;
}

static const char *skip_value(const char *s, const char *end)
{
    int depth = 0;
    s = skip_space(s, end);
    while (s < end) {
        if (*s == '"') {
            s = skip_string(s, end);
        } else if (*s == '{' || *s == '[') {
            depth++;
            s++;
            continue;
        } else if (*s == '}' || *s == ']') {
            if (depth == 0)
                return s;
            depth--;
            s++;
        } else if (depth == 0 &&
                   (*s == ',' || *s == ' ' || *s == '\t' || *s == '\n' || *s == '\r')) {
            return s;
        } else {
            s++;
            continue;
        }
        if (depth == 0)
            return s;
    }
    return s;
}

static bool element(dw_text array, size_t index, dw_text *out)
{
    const char *end = array.ptr + array.len, *s = skip_space(array.ptr, end);
    if (s == end || *s != '[')
        return false;
    s = skip_space(s + 1, end);
    for (size_t i = 0; s < end && *s != ']'; i++) {
        const char *stop = skip_value(s, end);
        if (i == index) {
            *out = (dw_text){s, (size_t)(stop - s)};
            return true;
        }
        s = skip_space(stop, end);
        if (s < end && *s == ',')
            s = skip_space(s + 1, end);
    }
    return false;
}

static bool member(dw_arena *a, dw_text object, dw_text key, dw_text *out)
{
    dw_json_member *m;
    size_t n = dw_json_members(a, object.ptr, object.len, &m);
    for (size_t i = 0; i < n; i++) {
        if (dw_text_eq(m[i].key, key)) {
            *out = m[i].raw;
            return true;
        }
    }
    return false;
}

/* A key that holds a dot itself is found by the rest of the path as a whole. */
bool dw_field_find(dw_arena *a, dw_text text, const char *path, dw_text *raw)
{
    dw_text here = text;
    while (*path) {
        size_t n = strcspn(path, ".");
        char *end;
        if (path[n] && member(a, here, dw_text_of(path), raw))
            return true;
        if (n > 0 && n < 10 && strspn(path, "0123456789") == n &&
            element(here, strtoul(path, &end, 10), raw))
            here = *raw;
        else if (member(a, here, (dw_text){path, n}, raw))
            here = *raw;
        else
            return false;
        if (!path[n])
            return true;
        path += n + 1;
    }
    return false;
}
