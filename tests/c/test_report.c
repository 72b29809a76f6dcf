/* tests/c/test_report.c */
#include "test.h"
