/* A trie over bytes as a double array (Aoe 1989): one step is one look-up. */
#ifndef DW_TEXT_TRIE_H
#define DW_TEXT_TRIE_H

#include "base/buf.h"

typedef struct dw_trie_node {
    uint32_t base;   /* the child by byte c lies at base + c, if it names this node as its parent */
    uint32_t parent; /* index + 1; 0: free */
    int32_t id;      /* of the key that ends here; -1: none */
} dw_trie_node;

/* Node 0 is the root. 256 nodes beyond the last base are always there: no look-up leaves the array.
 * Immutable after building. */
typedef struct dw_trie {
    dw_trie_node *node;
    size_t n, cap;
} dw_trie;

typedef struct dw_trie_key {
    dw_text text; /* not empty */
    int32_t id;
} dw_trie_key;
/* Sorts the keys, which must differ. */
void dw_trie_build(dw_trie *t, dw_trie_key *key, size_t n);
void dw_trie_finish(dw_trie *t);

#endif
