/* coro/switch_aarch64.S -- the switch for AArch64 (see context.h).
 *
 *     struct iora__context { void *ip, *sp, *bp; int32_t result; }   offsets 0, 8, 16, 24
 *
 * There is no red zone: the callee-saved registers x19-x28 and d8-d15 are pushed, ip is the link register
 * and bp the frame pointer x29. It leaves by `ret x30`: under branch target identification an indirect
 * branch to a return address would fault, since call sites carry no landing pad.
 */
        .text

        .globl  iora__context_switch
        .hidden iora__context_switch
        .type   iora__context_switch, %function
        .p2align 4
iora__context_switch:                   /* int (struct iora__context *from, *to) */
        .cfi_startproc
        hint    #34                     /* bti c */
        stp     d8, d9, [sp, #-144]!
        .cfi_def_cfa_offset 144
        stp     d10, d11, [sp, #16]
        stp     d12, d13, [sp, #32]
        stp     d14, d15, [sp, #48]
        stp     x19, x20, [sp, #64]
        stp     x21, x22, [sp, #80]
        stp     x23, x24, [sp, #96]
        stp     x25, x26, [sp, #112]
        stp     x27, x28, [sp, #128]
        mov     x9, sp
        stp     x30, x9, [x0]
        str     x29, [x0, #16]
.Lresume:
        ldp     x30, x9, [x1]
        ldr     x29, [x1, #16]
        ldr     w0, [x1, #24]
        mov     sp, x9
        ldp     d10, d11, [sp, #16]
        ldp     d12, d13, [sp, #32]
        ldp     d14, d15, [sp, #48]
        ldp     x19, x20, [sp, #64]
        ldp     x21, x22, [sp, #80]
        ldp     x23, x24, [sp, #96]
        ldp     x25, x26, [sp, #112]
        ldp     x27, x28, [sp, #128]
        ldp     d8, d9, [sp], #144
        .cfi_def_cfa_offset 0
        ret     x30
        .cfi_endproc
        .size   iora__context_switch, . - iora__context_switch

        .globl  iora__context_leave
        .hidden iora__context_leave
        .type   iora__context_leave, %function
iora__context_leave:                    /* void (struct iora__context *to) */
        .cfi_startproc
        hint    #34
        mov     x1, x0
        b       .Lresume
        .cfi_endproc
        .size   iora__context_leave, . - iora__context_leave

/* Where a new context begins: x1 is the context, x29 the function. */
        .globl  iora__context_entry
        .hidden iora__context_entry
        .type   iora__context_entry, %function
iora__context_entry:
        .cfi_startproc
        .cfi_undefined x30
        hint    #36                     /* bti j */
        mov     x9, x29
        mov     x29, xzr
        mov     x30, xzr
        mov     x0, x1
        blr     x9
        brk     #1
        .cfi_endproc
        .size   iora__context_entry, . - iora__context_entry

        .section .note.GNU-stack, "", %progbits

/* Branch target identification: supported. Return addresses are not signed here: those that the caller has
 * signed he has authenticated before he came. */
        .section .note.gnu.property, "a"
        .p2align 3
        .long   4
        .long   16
        .long   5
        .asciz  "GNU"
        .long   0xc0000000
        .long   4
        .long   1
        .long   0
