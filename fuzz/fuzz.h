/* fuzz/fuzz.h -- what the fuzz targets share: choices, and a simulated loop in which nothing may be left.
 *
 * A *target* is a file with a function LLVMFuzzerTestOneInput(), which reads its input as a list of *choices*: what to
 * do next, with what, for how long. Where the input ends each further choice is 0, so a target takes for 0 what
 * soon comes to an end. What it finds wrong it says on stderr, and aborts.
 *
 * The targets that share their model with a randomized test (tests/c/chance.h) fail by that test's checks, which
 * come here.
 */
#ifndef IORA_FUZZ_FUZZ_H
#define IORA_FUZZ_FUZZ_H

#include <iora.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Choose from these bytes from now on. */
void fuzz_begin(const uint8_t *data, size_t size);
/* The next byte, and one of 0 to n - 1 by it; 0 at the end. */
unsigned fuzz_byte(void);
int fuzz_choose(int n);
bool fuzz_is_over(void);

/* A simulated loop, whose hooks drop what they are told. */
iora_loop *fuzz_loop(uint64_t seed);
/* Its end: nothing is alive in it, and of what it allocated nothing is left. */
void fuzz_end_loop(iora_loop *loop);

void fuzz_fail(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

#endif
