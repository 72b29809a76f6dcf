/* tests/c/test_cancel.c */
#include "test.h"
