/* tests/c/test_queue.c */
#include "test.h"
