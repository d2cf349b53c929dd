# What a PC of the BIOS kind boots: a network boot program, loaded at 0:7c00 and entered in real
# mode. It adds up the whole of itself, 32 bits at a time, and says on the first serial line whether
# the sum is zero, which images.py made it. SEGMENTS pieces of 64 KiB.
	.code16
	.globl	_start
_start:	cli
	xor	%ebx, %ebx		# the sum
	mov	$0x07c0, %ax		# the segment in which octet 0 of the file lies
	mov	$SEGMENTS, %cx
piece:	mov	%ax, %ds
	xor	%si, %si
word:	add	(%si), %ebx
	add	$4, %si
	jnz	word
	add	$0x1000, %ax
	loop	piece
	xor	%ax, %ax
	mov	%ax, %ds
	mov	$whole, %si
	test	%ebx, %ebx
	jz	say
	mov	$broken, %si
say:	mov	$0x3fd, %dx		# the line's status: may it take another octet?
	in	%dx, %al
	test	$0x20, %al
	jz	say
	mov	$0x3f8, %dx
	lodsb
	out	%al, %dx
	test	%al, %al
	jnz	say
halt:	hlt
	jmp	halt

whole:	.asciz	"\r\nBOOTED BY TFTP\r\n"
broken:	.asciz	"\r\nTHE IMAGE IS BROKEN\r\n"
