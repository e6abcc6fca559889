/* SPDX-License-Identifier: GPL-3.0-only */
/*
 * A boot sector: it writes a word to port 0xe9, which Xen shows on its console, and halts or ends its domain.
 *
 * What it does is data: at 0x70 whether it ends (0 no, 1 at once, 2 after ten seconds), at 0x74 the reason as SCHEDOP_shutdown
 * takes it, or -1 for the reset port of the emulated chipset, and from 0x78 on the word.
 */
	.code16
	.set base, 0x7c00

start:
	xorw	%ax, %ax
	movw	%ax, %ds
	movw	$(base + word - start), %si
say:
	lodsb
	testb	%al, %al
	jz	said
	outb	%al, $0xe9
	jmp	say
said:
	movb	base + ends - start, %al
	testb	%al, %al
	jz	halt
	cmpb	$2, %al
	jne	end
	/* So many ticks of the BIOS's clock later. */
	sti
	movl	0x46c, %ebx
	addl	$(10 * 18), %ebx
later:
	hlt
	movl	0x46c, %eax
	cmpl	%ebx, %eax
	jb	later
end:
	movl	base + reason - start, %eax
	cmpl	$-1, %eax
	je	reset
	/* __HYPERVISOR_sched_op, SCHEDOP_shutdown */
	movl	$29, %eax
	movl	$2, %ebx
	movl	$(base + reason - start), %ecx
	vmmcall
reset:
	movw	$0xcf9, %dx
	movb	$6, %al
	outb	%al, %dx
halt:
	hlt
	jmp	halt

	.org	0x70
ends:
	.byte	0
	.org	0x74
reason:
	.long	0
	.org	0x78
word:
