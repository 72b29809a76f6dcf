/* iora/go.h -- the machinery behind IORA_ASYNC and iora_go: typed spawning in plain C.
 *
 * IORA_ASYNC(f, types...) stands once beside f's prototype, in a header or a .c file, f being static
 * or extern, C11 or C++11. It leaves f alone and defines beside it a struct for the arguments, a
 * function that calls f with them, and a constructor of f's own parameters that makes the task. It
 * is an error if the types are not those of the prototype. iora_go() calls the constructor, with the
 * compiler's warnings for wrong arguments raised to errors while it does.
 *
 * Up to eight arguments of any type that can be assigned and is copied by its bytes: an array is
 * refused, and so is in C++ a reference or a std::string. Types that end behind the name, like those
 * of function pointers, go through __typeof__:
 *     IORA_ASYNC(apply, __typeof__(int (*)(int)), int);
 */
#ifndef IORA_GO_H
#define IORA_GO_H

#include <iora/base.h>

#ifdef __cplusplus
/* Whether a parameter of this type is a copy of its argument. */
extern "C++" {
template <typename T> struct iora__is_value { enum { yes = 1 }; };
template <typename T> struct iora__is_value<T &> { enum { yes = 0 }; };
template <typename T> struct iora__is_value<T &&> { enum { yes = 0 }; };
template <typename T> struct iora__is_value<T[]> { enum { yes = 0 }; };
template <typename T, size_t n> struct iora__is_value<T[n]> { enum { yes = 0 }; };
}
#endif

IORA_BEGIN

/** A task, as a value that knows when it is stale. Compare with iora_task_is_same(). */
typedef struct iora_task {
    struct iora__task *_block;
    uint64_t _id; /* for the null handle: the error of the spawn, negated */
} iora_task;

/* Whose task it shall be. */
enum iora__go { IORA__GO_CHILD, IORA__GO_EAGER, IORA__GO_DETACHED, IORA__GO_GROUP };

/* Two steps: the first is typed and knows the arguments, the second owner, place and options. */
IORA_API iora_task iora__task_make(int (*enter)(void *), const char *name, const void *arguments,
                                   size_t size);
IORA_API iora_task iora__task_start(enum iora__go how, void *owner, size_t stack_size,
                                    const char *site, iora_task task);

#define IORA__CAT_(a, b) a##b
#define IORA__CAT(a, b) IORA__CAT_(a, b)
#define IORA__STR_(x) #x
#define IORA__STR(x) IORA__STR_(x)
#define IORA__SITE __FILE__ ":" IORA__STR(__LINE__)

/* The number of arguments, of which there is at least one (the function's name counts). */
#define IORA__10TH(a, b, c, d, e, f, g, h, i, n, ...) n
#define IORA__COUNT(...) IORA__10TH(__VA_ARGS__, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0)

#ifdef __cplusplus
#define IORA__SAME(f, signature)                                                                   \
    {                                                                                              \
        int(*same) signature = f;                                                                  \
        (void)same;                                                                                \
    }
#define IORA__IS_VALUE(type, parameter)                                                            \
    static_assert(iora__is_value<type>::yes && __is_trivially_copyable(type),                      \
                  "an array, a reference, or an object that has more to it than its bytes cannot " \
                  "be copied to a task: pass a struct or a pointer");
#else
#define IORA__SAME(f, signature)                                                                   \
    _Static_assert(__builtin_types_compatible_p(__typeof__(f), int signature),                     \
                   "IORA_ASYNC(" #f ", ...): the types are not those of " #f "'s prototype");
#define IORA__IS_VALUE(type, parameter)                                                            \
    _Static_assert(__builtin_types_compatible_p(type, __typeof__(parameter)),                      \
                   "an array cannot be copied to a task: pass a struct or a pointer");
#endif

/* clang-format off */
#define IORA__ASYNC(f, signature, fields, parameters, checks, values, call)                        \
    struct f##__arguments { fields };                                                              \
    __attribute__((unused)) static inline int f##__enter(void *p)                                  \
    {                                                                                              \
        struct f##__arguments *a = (struct f##__arguments *)p;                                     \
        (void)a;                                                                                   \
        IORA__SAME(f, signature)                                                                   \
        return f call;                                                                             \
    }                                                                                              \
    __attribute__((unused)) static inline iora_task f##__is_not_IORA_ASYNC parameters              \
    {                                                                                              \
        struct f##__arguments a = values;                                                          \
        checks                                                                                     \
        return iora__task_make(f##__enter, #f, &a, sizeof a);                                      \
    }                                                                                              \
    struct f##__arguments                                         /* takes the user's semicolon */

#define IORA__BRACES(...) { __VA_ARGS__ }
#define IORA__T(type) __typeof__(type)
#define IORA__FIELD(A, n) IORA__T(A) n;
#define IORA__ASYNC_1(f)                                                                           \
    IORA__ASYNC(f, (void), char none;, (void), , {0}, ())
#define IORA__ASYNC_2(f, A)                                                                        \
    IORA__ASYNC(f, (IORA__T(A)), IORA__FIELD(A, _1), (IORA__T(A) _1), IORA__IS_VALUE(A, _1),       \
                {_1}, (a->_1))
#define IORA__ASYNC_3(f, A, B)                                                                     \
    IORA__ASYNC(f, (IORA__T(A), IORA__T(B)), IORA__FIELD(A, _1) IORA__FIELD(B, _2),                \
                (IORA__T(A) _1, IORA__T(B) _2), IORA__IS_VALUE(A, _1) IORA__IS_VALUE(B, _2),       \
                IORA__BRACES(_1, _2), (a->_1, a->_2))
#define IORA__ASYNC_4(f, A, B, C)                                                                  \
    IORA__ASYNC(f, (IORA__T(A), IORA__T(B), IORA__T(C)),                                           \
                IORA__FIELD(A, _1) IORA__FIELD(B, _2) IORA__FIELD(C, _3),                          \
                (IORA__T(A) _1, IORA__T(B) _2, IORA__T(C) _3),                                     \
                IORA__IS_VALUE(A, _1) IORA__IS_VALUE(B, _2) IORA__IS_VALUE(C, _3),                 \
                IORA__BRACES(_1, _2, _3), (a->_1, a->_2, a->_3))
#define IORA__ASYNC_5(f, A, B, C, D)                                                               \
    IORA__ASYNC(f, (IORA__T(A), IORA__T(B), IORA__T(C), IORA__T(D)),                               \
                IORA__FIELD(A, _1) IORA__FIELD(B, _2) IORA__FIELD(C, _3) IORA__FIELD(D, _4),       \
                (IORA__T(A) _1, IORA__T(B) _2, IORA__T(C) _3, IORA__T(D) _4),                      \
                IORA__IS_VALUE(A, _1) IORA__IS_VALUE(B, _2) IORA__IS_VALUE(C, _3)                  \
                IORA__IS_VALUE(D, _4),                                                             \
                IORA__BRACES(_1, _2, _3, _4), (a->_1, a->_2, a->_3, a->_4))
#define IORA__ASYNC_6(f, A, B, C, D, E)                                                            \
    IORA__ASYNC(f, (IORA__T(A), IORA__T(B), IORA__T(C), IORA__T(D), IORA__T(E)),                   \
                IORA__FIELD(A, _1) IORA__FIELD(B, _2) IORA__FIELD(C, _3) IORA__FIELD(D, _4)        \
                IORA__FIELD(E, _5),                                                                \
                (IORA__T(A) _1, IORA__T(B) _2, IORA__T(C) _3, IORA__T(D) _4, IORA__T(E) _5),       \
                IORA__IS_VALUE(A, _1) IORA__IS_VALUE(B, _2) IORA__IS_VALUE(C, _3)                  \
                IORA__IS_VALUE(D, _4) IORA__IS_VALUE(E, _5),                                       \
                IORA__BRACES(_1, _2, _3, _4, _5), (a->_1, a->_2, a->_3, a->_4, a->_5))
#define IORA__ASYNC_7(f, A, B, C, D, E, F)                                                         \
    IORA__ASYNC(f, (IORA__T(A), IORA__T(B), IORA__T(C), IORA__T(D), IORA__T(E), IORA__T(F)),       \
                IORA__FIELD(A, _1) IORA__FIELD(B, _2) IORA__FIELD(C, _3) IORA__FIELD(D, _4)        \
                IORA__FIELD(E, _5) IORA__FIELD(F, _6),                                             \
                (IORA__T(A) _1, IORA__T(B) _2, IORA__T(C) _3, IORA__T(D) _4, IORA__T(E) _5,        \
                 IORA__T(F) _6),                                                                   \
                IORA__IS_VALUE(A, _1) IORA__IS_VALUE(B, _2) IORA__IS_VALUE(C, _3)                  \
                IORA__IS_VALUE(D, _4) IORA__IS_VALUE(E, _5) IORA__IS_VALUE(F, _6),                 \
                IORA__BRACES(_1, _2, _3, _4, _5, _6),                                              \
                (a->_1, a->_2, a->_3, a->_4, a->_5, a->_6))
#define IORA__ASYNC_8(f, A, B, C, D, E, F, G)                                                      \
    IORA__ASYNC(f, (IORA__T(A), IORA__T(B), IORA__T(C), IORA__T(D), IORA__T(E), IORA__T(F),        \
                    IORA__T(G)),                                                                   \
                IORA__FIELD(A, _1) IORA__FIELD(B, _2) IORA__FIELD(C, _3) IORA__FIELD(D, _4)        \
                IORA__FIELD(E, _5) IORA__FIELD(F, _6) IORA__FIELD(G, _7),                          \
                (IORA__T(A) _1, IORA__T(B) _2, IORA__T(C) _3, IORA__T(D) _4, IORA__T(E) _5,        \
                 IORA__T(F) _6, IORA__T(G) _7),                                                    \
                IORA__IS_VALUE(A, _1) IORA__IS_VALUE(B, _2) IORA__IS_VALUE(C, _3)                  \
                IORA__IS_VALUE(D, _4) IORA__IS_VALUE(E, _5) IORA__IS_VALUE(F, _6)                  \
                IORA__IS_VALUE(G, _7),                                                             \
                IORA__BRACES(_1, _2, _3, _4, _5, _6, _7),                                          \
                (a->_1, a->_2, a->_3, a->_4, a->_5, a->_6, a->_7))
#define IORA__ASYNC_9(f, A, B, C, D, E, F, G, H)                                                   \
    IORA__ASYNC(f, (IORA__T(A), IORA__T(B), IORA__T(C), IORA__T(D), IORA__T(E), IORA__T(F),        \
                    IORA__T(G), IORA__T(H)),                                                       \
                IORA__FIELD(A, _1) IORA__FIELD(B, _2) IORA__FIELD(C, _3) IORA__FIELD(D, _4)        \
                IORA__FIELD(E, _5) IORA__FIELD(F, _6) IORA__FIELD(G, _7) IORA__FIELD(H, _8),       \
                (IORA__T(A) _1, IORA__T(B) _2, IORA__T(C) _3, IORA__T(D) _4, IORA__T(E) _5,        \
                 IORA__T(F) _6, IORA__T(G) _7, IORA__T(H) _8),                                     \
                IORA__IS_VALUE(A, _1) IORA__IS_VALUE(B, _2) IORA__IS_VALUE(C, _3)                  \
                IORA__IS_VALUE(D, _4) IORA__IS_VALUE(E, _5) IORA__IS_VALUE(F, _6)                  \
                IORA__IS_VALUE(G, _7) IORA__IS_VALUE(H, _8),                                       \
                IORA__BRACES(_1, _2, _3, _4, _5, _6, _7, _8),                                      \
                (a->_1, a->_2, a->_3, a->_4, a->_5, a->_6, a->_7, a->_8))

/** IORA_ASYNC(f, types of f's parameters...); makes f spawnable. */
#define IORA_ASYNC(...) IORA__CAT(IORA__ASYNC_, IORA__COUNT(__VA_ARGS__))(__VA_ARGS__)

#define IORA__CALL_1(f)      f##__is_not_IORA_ASYNC()
#define IORA__CALL_N(f, ...) f##__is_not_IORA_ASYNC(__VA_ARGS__)
#define IORA__CALL_2 IORA__CALL_N
#define IORA__CALL_3 IORA__CALL_N
#define IORA__CALL_4 IORA__CALL_N
#define IORA__CALL_5 IORA__CALL_N
#define IORA__CALL_6 IORA__CALL_N
#define IORA__CALL_7 IORA__CALL_N
#define IORA__CALL_8 IORA__CALL_N
#define IORA__CALL_9 IORA__CALL_N
#define IORA__CALL(...) IORA__CAT(IORA__CALL_, IORA__COUNT(__VA_ARGS__))(__VA_ARGS__)

/* What clang counts among -Wincompatible-pointer-types, gcc calls by a name that clang does not know. */
#ifdef __clang__
#define IORA__CONST_IS_KEPT
#else
#define IORA__CONST_IS_KEPT _Pragma("GCC diagnostic error \"-Wdiscarded-qualifiers\"")
#endif

/* A task of f(args...), made and not yet started, with wrong arguments being errors. */
#ifdef __cplusplus
#define IORA__MAKE(...) (IORA__CALL(__VA_ARGS__))
#else
#define IORA__MAKE(...)                                                                            \
    __extension__({                                                                                \
        _Pragma("GCC diagnostic push")                                                             \
        _Pragma("GCC diagnostic error \"-Wint-conversion\"")                                       \
        _Pragma("GCC diagnostic error \"-Wincompatible-pointer-types\"")                           \
        IORA__CONST_IS_KEPT                                                                        \
        _Pragma("GCC diagnostic error \"-Wimplicit-function-declaration\"")                        \
        iora_task IORA__CAT(iora_task_, __LINE__) = IORA__CALL(__VA_ARGS__);                       \
        _Pragma("GCC diagnostic pop")                                                              \
        IORA__CAT(iora_task_, __LINE__);                                                           \
    })
#endif
#define IORA__START(how, owner, stack_size, ...)                                                   \
    iora__task_start((how), (owner), (stack_size), IORA__SITE, IORA__MAKE(__VA_ARGS__))
/* clang-format on */

IORA_END

#endif
