package cgroup

const joinerCode = "" +
	"\x48\x8b\x5c\x24\x08" + // mov rbx, [rsp+8]: the first argument
	"\x31\xff" + // number: xor edi, edi
	"\x0f\xb6\x03" + // digit: movzx eax, byte [rbx]
	"\x48\xff\xc3" + // inc rbx
	"\x83\xe8\x30" + // sub eax, '0'
	"\x7c\x07" + // jl end
	"\x6b\xff\x0a" + // imul edi, edi, 10
	"\x01\xc7" + // add edi, eax
	"\xeb\xee" + // jmp digit
	"\x83\xf8\xd0" + // end: cmp eax, 0-'0': the list's end
	"\x74\x1c" + // je execute
	"\x6a\x30" + // push '0'
	"\x48\x89\xe6" + // mov rsi, rsp
	"\xba\x01\x00\x00\x00" + // mov edx, 1
	"\x89\xd0" + // mov eax, edx (write)
	"\x0f\x05" + // syscall
	"\x5e" + // pop rsi
	"\xff\xc8" + // dec eax
	"\x75\x39" + // jne failed
	"\xb8\x03\x00\x00\x00" + // mov eax, 3 (close)
	"\x0f\x05" + // syscall
	"\xeb\xcb" + // jmp number
	"\xbe\x02\x00\x00\x00" + // execute: mov esi, 2 (F_SETFD)
	"\xba\x01\x00\x00\x00" + // mov edx, 1 (FD_CLOEXEC)
	"\xb8\x48\x00\x00\x00" + // mov eax, 72 (fcntl)
	"\x0f\x05" + // syscall
	"\x48\x8b\x04\x24" + // mov rax, [rsp]: the number of arguments
	"\x48\x8d\x73\xff" + // lea rsi, [rbx-1]: an empty path
	"\x48\x8d\x54\x24\x10" + // lea rdx, [rsp+16]: from the second argument on
	"\x4c\x8d\x54\xc4\x10" + // lea r10, [rsp+rax*8+16]: the environment
	"\x41\xb8\x00\x10\x00\x00" + // mov r8d, 0x1000 (AT_EMPTY_PATH)
	"\xb8\x42\x01\x00\x00" + // mov eax, 322 (execveat)
	"\x0f\x05" + // syscall
	"\xbf\x04\x00\x00\x00" + // failed: mov edi, 4
	"\x48\x8d\x35\x18\x00\x00\x00" + // lea rsi, [rip+24]: the text
	"\xba\x45\x00\x00\x00" + // mov edx, 69
	"\xb8\x01\x00\x00\x00" + // mov eax, 1 (write)
	"\x0f\x05" + // syscall
	"\xbf\x01\x00\x00\x00" + // mov edi, 1
	"\xb8\xe7\x00\x00\x00" + // mov eax, 231 (exit_group)
	"\x0f\x05" // syscall
