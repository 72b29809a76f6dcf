/* fuzz/replay.c -- give files to a fuzz target, one after another, without a fuzzer: what its corpus has found once
 * stays found. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
main(int argc, char **argv)
{
    static uint8_t data[1 << 20];

    for (int i = 1; i < argc; i++) {
        FILE *const file = fopen(argv[i], "rb");
        size_t size;

        if (file == NULL) {
            perror(argv[i]);
            return EXIT_FAILURE;
        }
        size = fread(data, 1, sizeof data, file);
        (void)fclose(file);
        fprintf(stderr, "%s: %zu bytes\n", argv[i], size);
        (void)LLVMFuzzerTestOneInput(data, size);
    }
    return EXIT_SUCCESS;
}
