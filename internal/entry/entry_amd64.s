#include "textflag.h"

// The stack is as the kernel left it. The call's outcome does not matter: what
// needs the registration makes the call again, and looks at it.
TEXT _rt0_sandboxer(SB),NOSPLIT|NOFRAME,$0
	MOVQ	$324, AX // membarrier
	MOVQ	$16, DI  // MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED
	XORQ	SI, SI
	XORQ	DX, DX
	SYSCALL
	JMP	_rt0_amd64_linux(SB)
