/* tests/c/test_sync.c */
#include "test.h"
