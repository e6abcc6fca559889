# SPDX-License-Identifier: GPL-3.0-only
# A PV kernel that is a whole stubdomain: it reads its arguments, shows them on its console, says that it is ready, sleeps.
# It follows xen/xen.h (start_info), io/xs_wire.h and io/console.h, and needs no memory but its own.
#
# r12: the ring to xenstored, r13: the ring of the console. A hypercall changes rax, rcx and r11.

        .set BASE, 0xffffffff80000000
        .set MACHINE_TO_PHYSICAL, 0xffff800000000000

        # start_info
        .set STORE_MFN, 56
        .set STORE_PORT, 64
        .set CONSOLE_MFN, 72
        .set CONSOLE_PORT, 80

        # The ring to xenstored: req[1024], rsp[1024], then the counters.
        .set RSP, 1024
        .set REQ_PROD, 2052
        .set RSP_CONS, 2056
        .set RSP_PROD, 2060

        # The ring of the console: in[1024], out[2048], then the counters.
        .set OUT, 1024
        .set OUT_PROD, 3084

        .set XS_READ, 2
        .set XS_WRITE, 11
        .set XS_ERROR, 16

        .set SCHED_OP, 29
        .set EVENT_CHANNEL_OP, 32
        .set SCHEDOP_YIELD, 0
        .set SCHEDOP_POLL, 3
        .set EVTCHNOP_SEND, 4

        .code64
        .text
start:  cld
        mov     STORE_PORT(%rsi), %eax
        mov     %eax, store_port(%rip)
        mov     CONSOLE_PORT(%rsi), %eax
        mov     %eax, console_port(%rip)
        mov     STORE_MFN(%rsi), %rax
        call    map
        mov     %rax, %r12
        mov     CONSOLE_MFN(%rsi), %rax
        call    map
        mov     %rax, %r13

        # guest = target
        lea     target(%rip), %rsi
        mov     $(target_end - target), %ebp
        mov     $XS_READ, %eax
        call    ask
        lea     guest(%rip), %rdi
        lea     answer(%rip), %rsi
        mov     %eax, guest_len(%rip)
        mov     %eax, %ecx
        rep movsb

        # answer = /local/domain/<guest>/vm
        lea     path(%rip), %rdi
        lea     home(%rip), %rsi
        mov     $(home_end - home), %ecx
        rep movsb
        call    put_guest
        lea     vm(%rip), %rsi
        mov     $(vm_end - vm), %ecx
        rep movsb
        mov     $XS_READ, %eax
        call    ask_path

        # answer = <answer>/image/dmargs
        mov     %eax, %ecx
        lea     path(%rip), %rdi
        lea     answer(%rip), %rsi
        rep movsb
        lea     dmargs(%rip), %rsi
        mov     $(dmargs_end - dmargs), %ecx
        rep movsb
        mov     $XS_READ, %eax
        call    ask_path
        mov     %eax, %r14d

        lea     label(%rip), %rsi
        mov     $(label_end - label), %ecx
        call    say
        lea     answer(%rip), %rsi
        mov     %r14d, %ecx
        call    say
        lea     newline(%rip), %rsi
        mov     $2, %ecx
        call    say

        # device-model/<guest>/state = running
        lea     path(%rip), %rdi
        lea     model(%rip), %rsi
        mov     $(model_end - model), %ecx
        rep movsb
        call    put_guest
        lea     state(%rip), %rsi
        mov     $(state_end - state), %ecx
        rep movsb
        mov     $XS_WRITE, %eax
        call    ask_path

        # Woken by whatever event, it sleeps on.
sleep:  mov     $SCHEDOP_POLL, %edi
        lea     poll(%rip), %rsi
        mov     $SCHED_OP, %eax
        syscall
        jmp     sleep

# rax: the address of the page with machine frame rax; the domain builder has mapped it.
map:    mov     $MACHINE_TO_PHYSICAL, %rdx
        mov     (%rdx,%rax,8), %rax
        shl     $12, %rax
        mov     $BASE, %rdx
        add     %rdx, %rax
        ret

# Appends the guest's id at rdi.
put_guest:
        lea     guest(%rip), %rsi
        mov     guest_len(%rip), %ecx
        rep movsb
        ret

# Makes the request eax, whose payload is at `path` and ends at rdi.
ask_path:
        lea     path(%rip), %rsi
        mov     %edi, %ebp
        sub     %esi, %ebp

# Makes the request eax with the ebp bytes at rsi. The answer is at `answer`, its length in eax. An error is the end.
ask:    mov     %eax, header(%rip)
        mov     %ebp, header+12(%rip)
        mov     %rsi, %rbx
        mov     REQ_PROD(%r12), %edx
        lea     header(%rip), %rsi
        mov     $16, %ecx
        call    put
        mov     %rbx, %rsi
        mov     %ebp, %ecx
        call    put
        mov     %edx, REQ_PROD(%r12)
        lea     header(%rip), %rbx
        mov     $16, %ebp
        call    take
        lea     answer(%rip), %rbx
        mov     header+12(%rip), %ebp
        call    take
        cmpl    $XS_ERROR, header(%rip)
        je      fail
        mov     header+12(%rip), %eax
        ret
fail:   lea     answer(%rip), %rsi
        mov     header+12(%rip), %ecx
        call    say
        ud2

# Puts the ecx bytes at rsi into the ring, from the counter edx on; a request is never longer than the ring.
put:    test    %ecx, %ecx
        jz      2f
1:      mov     %edx, %edi
        and     $1023, %edi
        lodsb
        mov     %al, (%r12,%rdi)
        inc     %edx
        dec     %ecx
        jnz     1b
2:      ret

# Takes ebp bytes to rbx, as they come.
take:   test    %ebp, %ebp
        jz      2f
1:      mov     RSP_CONS(%r12), %edx
        cmp     RSP_PROD(%r12), %edx
        je      3f
        mov     %edx, %edi
        and     $1023, %edi
        mov     RSP(%r12,%rdi), %al
        mov     %al, (%rbx)
        inc     %edx
        mov     %edx, RSP_CONS(%r12)
        inc     %rbx
        dec     %ebp
        jnz     1b
2:      ret
        # xenstored may have a request to see, or room for more of its answer.
3:      lea     store_port(%rip), %rsi
        call    notify
        mov     $SCHEDOP_YIELD, %edi
        xor     %esi, %esi
        mov     $SCHED_OP, %eax
        syscall
        jmp     1b

# Shows the ecx bytes at rsi; all that is shown fits into the ring.
say:    mov     OUT_PROD(%r13), %edx
        test    %ecx, %ecx
        jz      2f
1:      mov     %edx, %edi
        and     $2047, %edi
        lodsb
        mov     %al, OUT(%r13,%rdi)
        inc     %edx
        dec     %ecx
        jnz     1b
        mov     %edx, OUT_PROD(%r13)
2:      lea     console_port(%rip), %rsi

# Rings the port at rsi.
notify: mov     $EVTCHNOP_SEND, %edi
        mov     $EVENT_CHANNEL_OP, %eax
        syscall
        ret

target: .asciz  "target"
target_end:
home:   .ascii  "/local/domain/"
home_end:
vm:     .asciz  "/vm"
vm_end:
dmargs: .asciz  "/image/dmargs"
dmargs_end:
model:  .ascii  "device-model/"
model_end:
state:  .ascii  "/state\0running"
state_end:
label:  .ascii  "dmargs: "
label_end:
newline: .ascii "\r\n"

        .balign 8
# Of sched_poll: ports, their number, no deadline.
poll:   .quad   0, 0, 0
# Of xsd_sockmsg: type, request, transaction, length.
header: .long   0, 0, 0, 0
store_port: .long 0
console_port: .long 0
guest_len: .long 0
guest:  .skip   16
path:   .skip   256
answer: .skip   4096

        .section .note.GNU-stack, "", @progbits
