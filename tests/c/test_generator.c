/* tests/c/test_generator.c */
#include "test.h"
