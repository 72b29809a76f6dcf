/* Everything that IORA_ASYNC and iora_go promise to take, and that the values arrive. Valid C11 and
 * C++11, without a warning. Exits with 0, or tells the first line that was wrong. */
#include <iora.h>

#include <stdio.h>
#include <string.h>

struct point {
    int x, y;
};

union number {
    int integer;
    float real;
};

enum colour { RED, GREEN = 7 };

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            return iora_fail(-EBADMSG, "%s:%d: %s", __FILE__, __LINE__, #condition);               \
    } while (0)

/* ---- none to eight ------------------------------------------------------------------------------ */

static int
take_none(void)
{
    return 100;
}
IORA_ASYNC(take_none);

static int
take_1(int a)
{
    return a;
}
IORA_ASYNC(take_1, int);

static int
take_2(int a, int b)
{
    return a * 10 + b;
}
IORA_ASYNC(take_2, int, int);

static int
take_3(int a, int b, int c)
{
    return take_2(a, b) * 10 + c;
}
IORA_ASYNC(take_3, int, int, int);

static int
take_4(int a, int b, int c, int d)
{
    return take_3(a, b, c) * 10 + d;
}
IORA_ASYNC(take_4, int, int, int, int);

static int
take_5(int a, int b, int c, int d, int e)
{
    return take_4(a, b, c, d) * 10 + e;
}
IORA_ASYNC(take_5, int, int, int, int, int);

static int
take_6(int a, int b, int c, int d, int e, int f)
{
    return take_5(a, b, c, d, e) * 10 + f;
}
IORA_ASYNC(take_6, int, int, int, int, int, int);

static int
take_7(int a, int b, int c, int d, int e, int f, int g)
{
    return take_6(a, b, c, d, e, f) * 10 + g;
}
IORA_ASYNC(take_7, int, int, int, int, int, int, int);

static int
take_8(int a, int b, int c, int d, int e, int f, int g, int h)
{
    return take_7(a, b, c, d, e, f, g) * 10 + h;
}
IORA_ASYNC(take_8, int, int, int, int, int, int, int, int);

static int
numbers(void)
{
    CHECK(iora_await(iora_go(take_none)) == 100);
    CHECK(iora_await(iora_go(take_1, 1)) == 1);
    CHECK(iora_await(iora_go(take_2, 1, 2)) == 12);
    CHECK(iora_await(iora_go(take_3, 1, 2, 3)) == 123);
    CHECK(iora_await(iora_go(take_4, 1, 2, 3, 4)) == 1234);
    CHECK(iora_await(iora_go(take_5, 1, 2, 3, 4, 5)) == 12345);
    CHECK(iora_await(iora_go(take_6, 1, 2, 3, 4, 5, 6)) == 123456);
    CHECK(iora_await(iora_go(take_7, 1, 2, 3, 4, 5, 6, 7)) == 1234567);
    CHECK(iora_await(iora_go(take_8, 1, 2, 3, 4, 5, 6, 7, 8)) == 12345678);
    return 0;
}

/* ---- kinds of types -------------------------------------------------------------------------------- */

static int
take_mixture(char a, short b, long c, unsigned long long d, float e, double f, bool g,
             enum colour h)
{
    CHECK(a == 'a' && b == -2 && c == 3 && d == 4);
    CHECK(e > 4.9F && e < 5.1F && f > 5.9 && f < 6.1);
    CHECK(g && h == GREEN);
    return 0;
}
IORA_ASYNC(take_mixture, char, short, long, unsigned long long, float, double, bool, enum colour);

static int
take_struct(struct point point, union number number)
{
    CHECK(number.integer == 3);
    return point.x * 10 + point.y;
}
IORA_ASYNC(take_struct, struct point, union number);

static int
take_text(const char *text, char *buffer, size_t size)
{
    if (text == NULL)
        return 0;
    (void)snprintf(buffer, size, "<%s>", text);
    return (int)strlen(buffer);
}
IORA_ASYNC(take_text, const char *, char *, size_t);

static int
take_function(int (*function)(int), int argument)
{
    return function(argument);
}
IORA_ASYNC(take_function, __typeof__(int (*)(int)), int);

static int
take_pointer_to_array(int (*row)[3])
{
    return (*row)[2];
}
IORA_ASYNC(take_pointer_to_array, __typeof__(int (*)[3]));

static int
take_anything(void *object, const volatile int *number, iora_duration duration)
{
    CHECK(object == NULL && *number == 9);
    return (int)iora_to_s(duration);
}
IORA_ASYNC(take_anything, void *, const volatile int *, iora_duration);

/* More than fits into a task's own block. */
struct large {
    char bytes[4096];
};

static int
take_large(struct large large, int index)
{
    return large.bytes[index];
}
IORA_ASYNC(take_large, struct large, int);

static int
twice(int number)
{
    return 2 * number;
}

static int
kinds(void)
{
    struct point point = {4, 2};
    union number number = {3};
    struct large large;
    char buffer[16];
    int row[3] = {1, 2, 3};
    int nine = 9;

    memset(&large, 'x', sizeof large);
    CHECK(iora_await(iora_go(take_mixture, 'a', -2, 3, 4, 5, 6, true, GREEN)) == 0);
    CHECK(iora_await(iora_go(take_struct, point, number)) == 42);
    CHECK(iora_await(iora_go(take_text, "text", buffer, sizeof buffer)) == 6);
    CHECK(strcmp(buffer, "<text>") == 0);
    CHECK(iora_await(iora_go(take_text, NULL, NULL, 0)) == 0);
    CHECK(iora_await(iora_go(take_function, twice, 21)) == 42);
    CHECK(iora_await(iora_go(take_function, &twice, 'a')) == 2 * 'a');
    CHECK(iora_await(iora_go(take_pointer_to_array, &row)) == 3);
    CHECK(iora_await(iora_go(take_anything, NULL, &nine, iora_s(12))) == 12);
    CHECK(iora_await(iora_go(take_large, large, 4095)) == 'x');
    return 0;
}

/* ---- static, inline, extern ------------------------------------------------------------------------- */

#ifdef __cplusplus
extern "C" {
#endif
int take_extern(int number); /* below */
IORA_ASYNC(take_extern, int);
#ifdef __cplusplus
}
#endif

static inline int
take_inline(int number)
{
    return number + 2;
}
IORA_ASYNC(take_inline, int);

static int
never_spawned(int number)
{
    return number;
}
IORA_ASYNC(never_spawned, int);

static int
linkages(void)
{
    CHECK(iora_await(iora_go(take_extern, 1)) == 2);
    CHECK(iora_await(iora_go(take_inline, 1)) == 3);
    CHECK(never_spawned(3) == 3);
    return 0;
}

int
take_extern(int number)
{
    return number + 1;
}

/* ---- all that spawns ---------------------------------------------------------------------------------- */

static int
fill(int *out, int value)
{
    *out = value;
    return 0;
}
IORA_ASYNC(fill, int *, int);

static int
fill_by_address(void *out)
{
    return fill((int *)out, 6);
}

static int
emit_two(int *out, int first)
{
    int rc = iora_emit(out, first);

    return rc < 0 ? rc : iora_emit(out, first + 1);
}
IORA_ASYNC(emit_two, int *, int);

static int
spawners(void)
{
    static int detached;
    int out[8] = {0};
    int sum = 0;
    int rc = 0;

    CHECK(iora_await(iora_go_eager(fill, &out[0], 1)) == 0 && out[0] == 1);
    CHECK(iora_await(iora_go_sized(65536, fill, &out[1], 2)) == 0 && out[1] == 2);
    CHECK(iora_gather(iora_go(fill, &out[2], 3), iora_go(fill, &out[3], 4)) == 0);
    CHECK(out[2] == 3 && out[3] == 4);
    IORA_GROUP(rc, group) {
        iora_group_go(&group, fill, &out[4], 5);
    }
    CHECK(rc == 0 && out[4] == 5);
    CHECK(iora_await(iora_go_fn(fill_by_address, &out[5], "fill")) == 0 && out[5] == 6);
    iora_for_each(rc, emit_two, &out[6], 7)
        sum += out[6];
    CHECK(rc == 0 && sum == 15);
    iora_go_detached(fill, &detached, 9);
    while (detached == 0)
        CHECK(iora_yield() == 0);
    CHECK(detached == 9);

    /* One inside another, on one line and as an argument. */
    CHECK(iora_await(
              iora_go(take_1, iora_await(iora_go(take_1, iora_await(iora_go(take_1, 5)))))) == 5);
    return 0;
}

/* ---- the program -------------------------------------------------------------------------------------- */

static int
amain(int argc)
{
    int rc = numbers();

    CHECK(argc == 1);
    if (rc == 0)
        rc = kinds();
    if (rc == 0)
        rc = linkages();
    if (rc == 0)
        rc = spawners();
    if (rc < 0 && iora_error_last() != NULL)
        fprintf(stderr, "%s\n", iora_error_last()->what);
    return rc;
}
IORA_ASYNC(amain, int);

int
main(int argc, char **argv)
{
    (void)argv;
    return iora_main(amain, argc);
}
