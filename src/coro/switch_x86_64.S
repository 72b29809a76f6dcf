/* coro/switch_x86_64.S -- the switch for x86-64 System V (see context.h).
 *
 *     struct iora__context { void *ip, *sp, *bp; int32_t result; }   offsets 0, 8, 16, 24
 *
 * The switch is called, directly or by a tail call, so (%rsp) is where the blocked function's caller goes
 * on. The callee-saved registers but rbp are kept below the stack pointer, in the red zone, which signal
 * handlers leave alone and which nobody else touches while the stack does not run:
 *
 *     sp ->     return address
 *     sp - 8    rbx
 *     sp - 16   r12
 *     sp - 24   r13
 *     sp - 32   r14
 *     sp - 40   r15
 *
 * A debugger unwinds a suspended context from ip, with sp + 8 as the stack pointer and rbp, rbx, r12-r15
 * from where they are kept.
 *
 * endbr64 marks the places reached by indirect jumps or calls; `notrack` spares the return address one.
 * Shadow stacks are not supported: the object says so by carrying only the IBT mark.
 */
        .text

        .globl  iora__context_switch
        .hidden iora__context_switch
        .type   iora__context_switch, @function
        .p2align 5
iora__context_switch:                   /* int (struct iora__context *from, *to) */
        .cfi_startproc
        endbr64
        movq    (%rsp), %rax
        movq    %rax, 0(%rdi)
        movq    %rsp, 8(%rdi)
        movq    %rbp, 16(%rdi)
        movq    %rbx, -8(%rsp)
        movq    %r12, -16(%rsp)
        movq    %r13, -24(%rsp)
        movq    %r14, -32(%rsp)
        movq    %r15, -40(%rsp)
.Lresume:
        movq    0(%rsi), %rdx
        movq    8(%rsi), %rsp
        movq    16(%rsi), %rbp
        movl    24(%rsi), %eax
        movq    -8(%rsp), %rbx
        movq    -16(%rsp), %r12
        movq    -24(%rsp), %r13
        movq    -32(%rsp), %r14
        movq    -40(%rsp), %r15
        addq    $8, %rsp
        .cfi_adjust_cfa_offset -8
        .cfi_register rip, rdx
        notrack jmpq *%rdx
        .cfi_endproc
        .size   iora__context_switch, . - iora__context_switch

        .globl  iora__context_leave
        .hidden iora__context_leave
        .type   iora__context_leave, @function
iora__context_leave:                    /* void (struct iora__context *to) */
        .cfi_startproc
        endbr64
        movq    %rdi, %rsi
        jmp     .Lresume
        .cfi_endproc
        .size   iora__context_leave, . - iora__context_leave

/* Where a new context begins: rsi is the context, rbp the function, rsp the top of the stack. There is
 * nothing above this frame: unwinding ends at a return address that is undefined, and zero for those
 * who do not read CFI. */
        .globl  iora__context_entry
        .hidden iora__context_entry
        .type   iora__context_entry, @function
iora__context_entry:
        .cfi_startproc
        .cfi_undefined rip
        endbr64
        movq    %rbp, %rax
        xorl    %ebp, %ebp
        pushq   $0
        pushq   $0
        .cfi_def_cfa_offset 24
        movq    %rsi, %rdi
        call    *%rax
        ud2
        .cfi_endproc
        .size   iora__context_entry, . - iora__context_entry

        .section .note.GNU-stack, "", @progbits

/* Indirect branch tracking: supported. */
        .section .note.gnu.property, "a"
        .p2align 3
        .long   4
        .long   16
        .long   5
        .asciz  "GNU"
        .long   0xc0000002
        .long   4
        .long   1
        .long   0
