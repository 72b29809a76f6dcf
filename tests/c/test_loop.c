/* tests/c/test_loop.c */
#include "test.h"
