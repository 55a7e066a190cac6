#include "textflag.h"

// The stack is as the kernel left it. Where there is a client and it is asked
// for, it begins as if the kernel had started it, and else the whole program
// does.
TEXT _rt0_sandboxer(SB),NOSPLIT|NOFRAME,$0
	MOVQ	SP, AX
	SUBQ	$64, SP
	MOVQ	AX, 16(SP)
	MOVQ	AX, 0(SP)
	// A call of a Go function reads its goroutine through FS: none.
	MOVQ	$0, 32(SP)
	MOVQ	$158, AX // arch_prctl
	MOVQ	$0x1002, DI // ARCH_SET_FS
	LEAQ	40(SP), SI
	SYSCALL
	CALL	·Begin(SB)
	MOVQ	8(SP), AX
	MOVQ	16(SP), SP
	XORL	DX, DX
	TESTQ	AX, AX
	JEQ	all
	JMP	AX
all:
	JMP	_rt0_amd64_linux(SB)

TEXT ·call(SB),NOSPLIT,$0-64
	MOVQ	nr+0(FP), AX
	MOVQ	a+8(FP), DI
	MOVQ	b+16(FP), SI
	MOVQ	c+24(FP), DX
	MOVQ	d+32(FP), R10
	MOVQ	e+40(FP), R8
	MOVQ	f+48(FP), R9
	SYSCALL
	MOVQ	AX, ret+56(FP)
	RET
