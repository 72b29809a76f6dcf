/* bench/calibrate/switch.S -- the least that a switch between two contexts can be.
 *
 * On x86-64 it saves the six registers that a called function must preserve, and leaves by an
 * indirect jump to where the other context's call returns to.  A `ret` would be predicted from
 * the calls that the processor remembers, and those are the other context's: with different call
 * sites it is wrong each time, some 8 ns.  The jump is predicted from its history instead.  The
 * address is kept in the context so that it can be read before the new stack pointer is known.
 *
 * On AArch64 a jump to a return address is refused where branch targets are enforced, since call
 * sites are no landing pads, so there it is a plain `ret`. */

#if defined(__x86_64__)

#define RESUME 0
#define SP     8
#define RBP    16
#define RBX    24

    .text
    .globl  bench_switch
    .type   bench_switch, @function
    .p2align 4
bench_switch:
    endbr64
    movq    (%rsp), %rax            /* the return address; whoever comes back takes it off */
    movq    %rax, RESUME(%rdi)
    subq    $32, %rsp
    movq    %r12, 0(%rsp)
    movq    %r13, 8(%rsp)
    movq    %r14, 16(%rsp)
    movq    %r15, 24(%rsp)
    movq    %rsp, SP(%rdi)
    movq    %rbp, RBP(%rdi)
    movq    %rbx, RBX(%rdi)

    movq    SP(%rsi), %rsp
    movq    RESUME(%rsi), %rdx
    movq    RBP(%rsi), %rbp
    movq    RBX(%rsi), %rbx
    movq    0(%rsp), %r12
    movq    8(%rsp), %r13
    movq    16(%rsp), %r14
    movq    24(%rsp), %r15
    addq    $40, %rsp
    notrack jmpq *%rdx
    .size   bench_switch, . - bench_switch

#elif defined(__aarch64__)

#define RESUME 0
#define SP     8

    .text
    .globl  bench_switch
    .type   bench_switch, %function
    .p2align 4
bench_switch:
    hint    #34                     /* bti c, which older processors take for a nop */
    sub     sp, sp, #160
    stp     x19, x20, [sp, #0]
    stp     x21, x22, [sp, #16]
    stp     x23, x24, [sp, #32]
    stp     x25, x26, [sp, #48]
    stp     x27, x28, [sp, #64]
    str     x29, [sp, #80]
    stp     d8, d9, [sp, #96]
    stp     d10, d11, [sp, #112]
    stp     d12, d13, [sp, #128]
    stp     d14, d15, [sp, #144]
    mov     x9, sp
    str     x30, [x0, #RESUME]
    str     x9, [x0, #SP]

    ldr     x30, [x1, #RESUME]
    ldr     x9, [x1, #SP]
    mov     sp, x9
    ldp     x19, x20, [sp, #0]
    ldp     x21, x22, [sp, #16]
    ldp     x23, x24, [sp, #32]
    ldp     x25, x26, [sp, #48]
    ldp     x27, x28, [sp, #64]
    ldr     x29, [sp, #80]
    ldp     d8, d9, [sp, #96]
    ldp     d10, d11, [sp, #112]
    ldp     d12, d13, [sp, #128]
    ldp     d14, d15, [sp, #144]
    add     sp, sp, #160
    ret
    .size   bench_switch, . - bench_switch

#endif

    .section .note.GNU-stack, "", %progbits
