/* tests/c/test_select.c */
#include "test.h"
