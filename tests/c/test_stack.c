/* tests/c/test_stack.c */
#include "test.h"
