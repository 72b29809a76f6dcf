/* fuzz/timers.c -- timers set, cleared and made to expire in any order, against the model of the tests.
 *
 * The first choices are the instant at which the wheel begins. A choice is spread over the 64 bits of what the model
 * draws, so that deadlines near and far meet and often are the same.
 */
#include "fuzz.h"
#include "model_timers.h"

static uint64_t
draw(void)
{
    return fuzz_byte() * UINT64_C(0x9e3779b97f4a7c15);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_begin(data, size);
    begin_model((int64_t)(draw() >> (2 + draw() % 62)));
    while (!fuzz_is_over()) {
        step();
        check_wheel();
    }
    return 0;
}
