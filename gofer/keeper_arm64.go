package gofer

// keeperCode reads one byte from descriptor 3 and waits for ever, or ends
// where nobody will ever write one.
const keeperCode = "" +
	"\x60\x00\x80\xd2" + // mov x0, #3
	"\xe1\x43\x00\xd1" + // sub x1, sp, #16
	"\x22\x00\x80\xd2" + // mov x2, #1
	"\xe8\x07\x80\xd2" + // mov x8, #63 (read)
	"\x01\x00\x00\xd4" + // svc #0
	"\x1f\x04\x00\xf1" + // cmp x0, #1
	"\x21\x01\x00\x54" + // b.ne exit
	"\x00\x00\x80\xd2" + // loop: mov x0, #0
	"\x01\x00\x80\xd2" + // mov x1, #0
	"\x02\x00\x80\xd2" + // mov x2, #0
	"\x03\x00\x80\xd2" + // mov x3, #0
	"\x04\x00\x80\xd2" + // mov x4, #0
	"\x28\x09\x80\xd2" + // mov x8, #73 (ppoll)
	"\x01\x00\x00\xd4" + // svc #0
	"\xf9\xff\xff\x17" + // b loop
	"\x00\x00\x80\xd2" + // exit: mov x0, #0
	"\xc8\x0b\x80\xd2" + // mov x8, #94 (exit_group)
	"\x01\x00\x00\xd4" // svc #0
