package gofer

import "golang.org/x/sys/unix"

// keeperCode drops all capabilities and lets the filter behind it allow nothing
// but what follows: it reads one byte from descriptor 3 and waits for ever, or
// ends where nobody will ever write one.
const keeperCode = "" +
	"\x6a\x3f" + // push 63: the highest capability that there can be
	"\x5b" + // pop rbx
	"\xb8\x9d\x00\x00\x00" + // drop: mov eax, 157 (prctl)
	"\xbf\x18\x00\x00\x00" + // mov edi, 24 (PR_CAPBSET_DROP)
	"\x89\xde" + // mov esi, ebx
	"\x0f\x05" + // syscall
	"\xff\xcb" + // dec ebx
	"\x79\xee" + // jns drop
	"\x31\xd2" + // xor edx, edx
	"\x52" + // push rdx
	"\x52" + // push rdx
	"\x52" + // push rdx
	"\x48\x89\xe6" + // mov rsi, rsp
	"\x68\x22\x05\x08\x20" + // push 0x20080522: the header; version 3, this process
	"\x48\x89\xe7" + // mov rdi, rsp
	"\xb8\x7e\x00\x00\x00" + // mov eax, 126 (capset)
	"\x0f\x05" + // syscall
	"\x85\xc0" + // test eax, eax
	"\x75\x5e" + // jne exit
	"\xbf\x26\x00\x00\x00" + // mov edi, 38 (PR_SET_NO_NEW_PRIVS)
	"\xbe\x01\x00\x00\x00" + // mov esi, 1
	"\x45\x31\xd2" + // xor r10d, r10d
	"\x45\x31\xc0" + // xor r8d, r8d
	"\xb8\x9d\x00\x00\x00" + // mov eax, 157 (prctl)
	"\x0f\x05" + // syscall
	"\x85\xc0" + // test eax, eax
	"\x75\x43" + // jne exit
	"\x48\x8d\x05\x45\x00\x00\x00" + // lea rax, [rip+69]: the filter
	"\x50" + // push rax
	"\x6a\x08" + // push 8: the filter's instructions
	"\xbf\x16\x00\x00\x00" + // mov edi, 22 (PR_SET_SECCOMP)
	"\xbe\x02\x00\x00\x00" + // mov esi, 2 (a filter)
	"\x48\x89\xe2" + // mov rdx, rsp
	"\xb8\x9d\x00\x00\x00" + // mov eax, 157 (prctl)
	"\x0f\x05" + // syscall
	"\x85\xc0" + // test eax, eax
	"\x75\x21" + // jne exit
	"\x31\xc0" + // xor eax, eax (read)
	"\xbf\x03\x00\x00\x00" + // mov edi, 3
	"\x48\x8d\x74\x24\xf8" + // lea rsi, [rsp-8]
	"\xba\x01\x00\x00\x00" + // mov edx, 1
	"\x0f\x05" + // syscall
	"\x83\xf8\x01" + // cmp eax, 1
	"\x75\x09" + // jne exit
	"\xb8\x22\x00\x00\x00" + // loop: mov eax, 34 (pause)
	"\x0f\x05" + // syscall
	"\xeb\xf7" + // jmp loop
	"\xb8\xe7\x00\x00\x00" + // exit: mov eax, 231 (exit_group)
	"\x31\xff" + // xor edi, edi
	"\x0f\x05" // syscall

// keeperCalls are all that the keeper does once it is confined.
var keeperCalls = [...]uint32{unix.SYS_READ, unix.SYS_PAUSE, unix.SYS_EXIT_GROUP}

const keeperArch = unix.AUDIT_ARCH_X86_64
