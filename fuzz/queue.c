/* fuzz/queue.c -- puts, gets, joins, cancels and a shutdown in any order, against the model of the tests.
 *
 * The first choice is the seed of the ready order (0: first in, first out), the next the kind of queue, its size
 * and the number of workers, and then each worker's operations as they come to run.
 */
#include "fuzz.h"
#include "model_queue.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    iora_loop *loop;

    fuzz_begin(data, size);
    loop = fuzz_loop(fuzz_byte());
    begin_chance(0, fuzz_choose);
    MUST_EQ(iora_run_in(loop, try_queue), 0);
    fuzz_end_loop(loop);
    return 0;
}
