/* fuzz/fuzz.c -- choices, the loop and its end, and the checks of the tests' models (fuzz.h). */
#include "fuzz.h"
#include "test.h"

static struct {
    const uint8_t *next, *end;
    long alive; /* allocations before the loop */
} input;

void
fuzz_fail(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    abort();
}

/* ---- choices ----------------------------------------------------------------------------------------- */

void
fuzz_begin(const uint8_t *data, size_t size)
{
    input.next = data;
    input.end = data + size;
}

bool
fuzz_is_over(void)
{
    return input.next == input.end;
}

unsigned
fuzz_byte(void)
{
    return fuzz_is_over() ? 0 : *input.next++;
}

int
fuzz_choose(int n)
{
    return (int)fuzz_byte() % n;
}

/* ---- the loop ---------------------------------------------------------------------------------------- */

static void
drop_error(void *arg, int code, const char *text)
{
    (void)arg;
    (void)code;
    (void)text;
}

static void
drop_log(void *arg, const char *text)
{
    (void)arg;
    (void)text;
}

iora_loop *
fuzz_loop(uint64_t seed)
{
    iora_loop_options options = IORA_LOOP_OPTIONS_INIT;
    iora_loop *loop;
    int rc;

    options.backend = IORA_BACKEND_SIM;
    options.seed = seed;
    options.on_error = drop_error;
    options.on_log = drop_log;
    input.alive = iora__seam_read().alive;
    if ((rc = iora_loop_new(&options, &loop)) < 0)
        fuzz_fail("no loop: %s", iora_err_name(rc));
    return loop;
}

void
fuzz_end_loop(iora_loop *loop)
{
    iora_census left;
    int rc;

    iora_loop_census(loop, &left);
    if (left.tasks != 0 || left.stacks != 0 || left.timers != 0 || left.ops != 0 ||
        left.remotes != 0)
        fuzz_fail(
            "left in the loop: %zu tasks, %zu stacks, %zu timers, %zu operations, %zu remotes",
            left.tasks, left.stacks, left.timers, left.ops, left.remotes);
    if ((rc = iora_loop_free(loop)) < 0)
        fuzz_fail("the loop's end: %s", iora_err_name(rc));
    if (iora__seam_read().alive != input.alive)
        fuzz_fail("%ld allocations were left", iora__seam_read().alive - input.alive);
}

/* ---- the checks of the tests' models (tests/c/test.h) ------------------------------------------------ */

void
test_fail(const char *file, int line, const char *format, ...)
{
    va_list args;

    fprintf(stderr, "%s:%d: ", file, line);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    abort();
}

void
test_check_eq(const char *file, int line, const char *a_text, const char *b_text, long long a,
              long long b)
{
    if (a != b)
        test_fail(file, line, "%s == %s: %lld, not %lld", a_text, b_text, a, b);
}
