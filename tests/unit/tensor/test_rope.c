/* Rotary embedding against its definition; the inverse is the transpose. */
#include "tensor/rope.h"
#include "tensors.h"

typedef struct rope_case {
    size_t rows, heads, head_dim, n_freq, ld, n;
    double factor, *inv_freq;
    uint32_t *pos;
    dw_real *in, *out;
    bool adjacent, inverse;
} rope_case;

static rope_case rope_make(size_t rows, size_t heads, size_t head_dim, size_t n_freq, bool adjacent)
{
    rope_case c = {.rows = rows,
                   .heads = heads,
                   .head_dim = head_dim,
                   .n_freq = n_freq,
                   .ld = heads * head_dim + 5,
                   .factor = 1.25,
                   .adjacent = adjacent};
    c.n = rows * c.ld;
    c.in = test_array(c.n, 1);
    c.out = test_zeros(c.n);
    c.pos = calloc(rows, sizeof *c.pos);
    c.inv_freq = calloc(n_freq, sizeof *c.inv_freq);
    assert_true(c.pos != NULL && c.inv_freq != NULL);
    for (size_t r = 0; r < rows; r++)
        c.pos[r] = (uint32_t)(r * 977 % 4096);
    for (size_t i = 0; i < n_freq; i++)
        c.inv_freq[i] = pow(10000, -(double)i / (double)n_freq);
    return c;
}

static void rope_free(rope_case *c)
{
    free(c->in);
    free(c->out);
    free(c->pos);
    free(c->inv_freq);
}

static void rope_run(const dw_exec *x, void *ctx)
{
    rope_case *c = ctx;
    memcpy(c->out, c->in, c->n * sizeof *c->in);
    dw_rope(x, c->out, c->ld, c->rows, c->pos, c->heads, c->head_dim, c->inv_freq, c->n_freq,
            c->factor, c->adjacent, c->inverse);
}

static void rope_reference(rope_case *c)
{
    memcpy(c->out, c->in, c->n * sizeof *c->in);
    for (size_t r = 0; r < c->rows; r++)
        for (size_t h = 0; h < c->heads; h++)
            for (size_t i = 0; i < c->n_freq; i++) {
                size_t base = r * c->ld + h * c->head_dim;
                size_t a = base + (c->adjacent ? 2 * i : i);
                size_t b = base + (c->adjacent ? 2 * i + 1 : i + c->n_freq);
                double angle = (double)c->pos[r] * c->inv_freq[i] * (c->inverse ? -1 : 1);
                double x = (double)c->in[a], y = (double)c->in[b];
                c->out[a] = (dw_real)(c->factor * (x * cos(angle) - y * sin(angle)));
                c->out[b] = (dw_real)(c->factor * (y * cos(angle) + x * sin(angle)));
            }
}

static void rope_check(rope_case c)
{
    for (int inverse = 0; inverse < 2; inverse++) {
        c.inverse = inverse;
        rope_reference(&c);
        dw_real *want = test_copy(c.out, c.n);
        test_everywhere("rope", rope_run, &c, c.out, c.n, TEST_REL, TEST_REL);
        assert_true(dw_close("rope against double", c.out, want, c.n, TEST_REL, TEST_REL));
        free(want);
    }
    /* <R x, y> = <x, R' y>, and R' R x = factor^2 x on what is turned. */
    dw_exec x = test_exec(2, NULL);
    c.inverse = false;
    rope_run(&x, &c);
    dw_real *rx = test_copy(c.out, c.n), *in = c.in, *y = test_array(c.n, 2);
    c.in = y;
    c.inverse = true;
    rope_run(&x, &c);
    double left = 0, right = 0;
    for (size_t i = 0; i < c.n; i++) {
        left += (double)rx[i] * (double)y[i];
        right += (double)in[i] * (double)c.out[i];
    }
    if (fabs(left - right) > 10 * TEST_REL * sqrt((double)c.n))
        fail_msg("transpose: %.9g and %.9g", left, right);
    c.in = rx;
    rope_run(&x, &c);
    for (size_t i = 0; i < c.n; i++) {
        size_t col = i % c.ld;
        bool turned = col < c.heads * c.head_dim && col % c.head_dim < 2 * c.n_freq;
        rx[i] = turned ? (dw_real)(c.factor * c.factor * (double)in[i]) : in[i];
    }
    assert_true(dw_close("there and back", c.out, rx, c.n, 4 * TEST_REL, 4 * TEST_REL));
    dw_exec_finish(&x);
    c.in = in;
    free(rx);
    free(y);
    rope_free(&c);
}

static void definition(void **state)
{
    rope_check(rope_make(50, 3, 64, 32, false));
    rope_check(rope_make(19, 2, 64, 32, true));
    rope_check(rope_make(7, 5, 80, 16, false));   /* only part of a head */
    rope_check(rope_make(3, 1, 400, 150, false)); /* more than one block of frequencies */
    rope_check(rope_make(3, 2, 400, 150, true));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(definition)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
