/* tests/c/test_handle.c */
#include "test.h"
