package infra

const pauseMachine = 62 // EM_X86_64

// pauseCode waits for ever: mov eax, SYS_pause; syscall; jmp to the start.
const pauseCode = "\xb8\x22\x00\x00\x00\x0f\x05\xeb\xf7"
