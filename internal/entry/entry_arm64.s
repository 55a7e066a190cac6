#include "textflag.h"

// See entry_amd64.s.
TEXT _rt0_sandboxer(SB),NOSPLIT|NOFRAME,$0
	MOVD	RSP, R0
	SUB	$64, RSP
	MOVD	R0, 32(RSP)
	MOVD	R0, 8(RSP)
	MOVD	ZR, g
	BL	·Begin(SB)
	MOVD	16(RSP), R1
	MOVD	32(RSP), R0
	MOVD	R0, RSP
	CBZ	R1, all
	JMP	(R1)
all:
	JMP	_rt0_arm64_linux(SB)

TEXT ·call(SB),NOSPLIT,$0-64
	MOVD	nr+0(FP), R8
	MOVD	a+8(FP), R0
	MOVD	b+16(FP), R1
	MOVD	c+24(FP), R2
	MOVD	d+32(FP), R3
	MOVD	e+40(FP), R4
	MOVD	f+48(FP), R5
	SVC
	MOVD	R0, ret+56(FP)
	RET
