# What a PC of the UEFI kind boots: an application in the PE32+ format, its headers written out here
# since no linker is at hand that makes them. It adds up the whole of itself, as it lies in memory,
# and says on the first serial line whether the sum is zero, which images.py made it.
# The file and the image in memory are the same octets: both alignments are 32. No word of it needs
# relocation, so the table of those is empty.
	.code64
mz:	.ascii	"MZ"
	.org	0x3c
	.long	pe - mz
	.org	0x40
pe:	.ascii	"PE\0\0"
	.word	0x8664			# x86-64
	.word	2			# sections
	.long	0, 0, 0
	.word	sections - optional
	.word	0x0206			# executable, without lines and symbols
optional:
	.word	0x020b			# PE32+
	.byte	0, 0
	.long	end - text, 0, 0	# code, data, bss
	.long	text - mz		# entry
	.long	text - mz		# base of the code
	.quad	0			# where it would like to lie
	.long	32, 32			# alignment in memory, in the file
	.word	0, 0, 0, 0, 0, 0	# versions
	.long	0
	.long	end - mz		# size of the image
	.long	text - mz		# size of the headers
	.long	0
	.word	10			# an application of the firmware
	.word	0
	.quad	0, 0, 0, 0		# stack and heap
	.long	0
	.long	6			# directories
	.quad	0, 0, 0, 0, 0
	.long	reloc - mz, 8
sections:
	.ascii	".text\0\0\0"
	.long	reloc - text, text - mz, reloc - text, text - mz
	.long	0, 0, 0
	.long	0xe0000020		# code; may be read, written, executed
	.ascii	".reloc\0\0"
	.long	end - reloc, reloc - mz, end - reloc, reloc - mz
	.long	0, 0, 0
	.long	0x42000040		# data; may be read, is thrown away
	.balign	512
text:	lea	whole(%rip), %rsi
	lea	text(%rip), %rdi
	mov	$(end - text) / 4, %ecx
	xor	%ebx, %ebx		# the sum, without the headers: the firmware changes some
word:	add	(%rdi), %ebx
	add	$4, %rdi
	loop	word
	test	%ebx, %ebx
	jz	say
	lea	broken(%rip), %rsi
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
	.balign	32
balance:
	.long	0			# images.py makes the sum zero with it
	.balign	32
filler:	.incbin	"filler"
	.balign	32
reloc:	.long	0, 8			# a block of relocations without one
	.balign	32
end:
