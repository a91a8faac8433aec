/* The shuffled order: a permutation in every epoch, another one in the next, pure in its arguments.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "data/order.h"

static void every_epoch_is_a_permutation(void **state)
{
    (void)state;
    static const size_t lens[] = {1,   2,   3,   5,    7,    64,   255, 256,
                                  257, 258, 511, 1000, 1024, 1025, 5000};
    for (size_t k = 0; k < sizeof lens / sizeof *lens; k++) {
        size_t len = lens[k];
        unsigned char *seen = malloc(len);
        for (uint64_t epoch = 0; epoch < 3; epoch++) {
            memset(seen, 0, len);
            for (size_t i = 0; i < len; i++) {
                size_t at = dw_shuffle_at(42, len, epoch * len + i);
                assert_true(at < len);
                assert_int_equal(seen[at]++, 0);
            }
        }
        free(seen);
    }
}

static void seeds_and_epochs_differ(void **state)
{
    (void)state;
    size_t same_epoch = 0, same_seed = 0, fixed = 0;
    for (size_t i = 0; i < 1000; i++) {
        same_epoch += dw_shuffle_at(1, 1000, i) == dw_shuffle_at(1, 1000, 1000 + i);
        same_seed += dw_shuffle_at(1, 1000, i) == dw_shuffle_at(2, 1000, i);
        fixed += dw_shuffle_at(1, 1000, i) == i;
        assert_int_equal(dw_shuffle_at(1, 1000, i), dw_shuffle_at(1, 1000, i));
    }
    /* One is what chance gives. */
    assert_true(same_epoch < 10 && same_seed < 10 && fixed < 10);
}

/* Each row is equally likely at the first place, and at the place after row 0. */
static void places_are_uniform(void **state)
{
    (void)state;
    enum { LEN = 300, N = 30000 };
    static const size_t lens[] = {5, LEN};
    for (size_t k = 0; k < 2; k++) {
        size_t len = lens[k];
        unsigned *first = calloc(len, sizeof *first);
        for (uint64_t epoch = 0; epoch < N; epoch++)
            first[dw_shuffle_at(7, len, epoch * len)]++;
        double chi = 0, want = (double)N / (double)len;
        for (size_t i = 0; i < len; i++)
            chi += (first[i] - want) * (first[i] - want) / want;
        /* Mean len - 1, standard deviation sqrt(2 (len - 1)); five of them. */
        double limit = (double)(len - 1) + 5 * (len == 5 ? 2.83 : 24.5);
        assert_true(chi < limit);
        free(first);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_epoch_is_a_permutation),
        cmocka_unit_test(seeds_and_epochs_differ),
        cmocka_unit_test(places_are_uniform),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
