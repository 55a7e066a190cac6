package gofer

// keeperCode reads one byte from descriptor 3 and waits for ever, or ends
// where nobody will ever write one.
const keeperCode = "" +
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
