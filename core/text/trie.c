/* Builds a double array level by level: each node looks for the first base at which all its
 * children find free places. */
#include "text/trie.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

enum { TRIES = 256 }; /* free places a node looks at before it goes to the end of the array */

typedef struct range {
    uint32_t node;
    size_t lo, hi, depth; /* the keys [lo, hi) share depth bytes */
} range;

typedef struct builder {
    dw_trie *t;
    const dw_trie_key *key;
    range *queue;
    size_t n_queue, cap_queue;
    size_t hint; /* below it there are hardly any free places */
    unsigned char child[256];
    size_t lo[257];
} builder;

static int by_text(const void *a, const void *b)
{
    const dw_trie_key *x = a, *y = b;
    size_t n = x->text.len < y->text.len ? x->text.len : y->text.len;
    int c = memcmp(x->text.ptr, y->text.ptr, n);
    return c ? c : x->text.len < y->text.len ? -1 : x->text.len > y->text.len;
}

static void make_room(dw_trie *t, size_t n)
{
    if (n <= t->n)
        return;
    if (n > t->cap) {
        size_t cap = t->cap ? t->cap : 1024;
        while (cap < n)
            cap *= 2;
        t->node = dw_realloc(t->node, cap * sizeof *t->node);
        t->cap = cap;
    }
    for (size_t i = t->n; i < n; i++)
        t->node[i] = (dw_trie_node){0, 0, -1};
    t->n = n;
}

static bool fits(const dw_trie *t, size_t base, const unsigned char *c, size_t k)
{
    for (size_t i = 0; i < k; i++)
        if (base + c[i] < t->n && t->node[base + c[i]].parent)
            return false;
    return true;
}

static size_t find_base(builder *b, size_t k)
{
    const unsigned char *c = b->child;
    size_t tries = 0;
    while (b->hint < b->t->n && b->t->node[b->hint].parent)
        b->hint++;
    for (size_t at = b->hint > c[0] ? b->hint : (size_t)c[0] + 1; at < b->t->n; at++) {
        if (b->t->node[at].parent)
            continue;
        if (fits(b->t, at - c[0], c, k))
            return at - c[0];
        if (++tries == TRIES) {
            b->hint = b->hint + (at - b->hint) / 2;
            break;
        }
    }
    return b->t->n;
}

/* Gives the children of a node their places and puts them into the queue. */
static void place(builder *b, range r)
{
    size_t k = 0;
    if (b->key[r.lo].text.len == r.depth)
        b->t->node[r.node].id = b->key[r.lo++].id;
    for (size_t i = r.lo; i < r.hi; i++) {
        unsigned char c = (unsigned char)b->key[i].text.ptr[r.depth];
        if (k && b->child[k - 1] == c)
            continue;
        b->lo[k] = i;
        b->child[k++] = c;
    }
    if (!k)
        return;
    b->lo[k] = r.hi;
    size_t base = find_base(b, k);
    make_room(b->t, base + 256);
    b->t->node[r.node].base = (uint32_t)base;
    for (size_t i = 0; i < k; i++) {
        size_t to = base + b->child[i];
        b->t->node[to].parent = r.node + 1;
        DW_GROW(b->queue, b->n_queue, b->cap_queue);
        b->queue[b->n_queue++] = (range){(uint32_t)to, b->lo[i], b->lo[i + 1], r.depth + 1};
    }
}

void dw_trie_build(dw_trie *t, dw_trie_key *key, size_t n)
{
    builder b = {.t = t, .key = key, .hint = 1};
    qsort(key, n, sizeof *key, by_text);
    make_room(t, 257);
    t->node[0].parent = UINT32_MAX; /* taken, and nobody's child */
    t->node[0].base = 1;
    if (n)
        place(&b, (range){0, 0, n, 0});
    for (size_t i = 0; i < b.n_queue; i++)
        place(&b, b.queue[i]);
    dw_free(b.queue);
}

void dw_trie_finish(dw_trie *t)
{
    dw_free(t->node);
    *t = (dw_trie){0};
}
