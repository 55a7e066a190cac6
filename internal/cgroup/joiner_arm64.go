package cgroup

const joinerCode = "" +
	"\xe9\x07\x40\xf9" + // ldr x9, [sp, #8]: the first argument
	"\x00\x00\x80\xd2" + // number: mov x0, #0
	"\x2a\x15\x40\x38" + // digit: ldrb w10, [x9], #1
	"\x4a\xc1\x00\x71" + // subs w10, w10, #'0'
	"\x8b\x00\x00\x54" + // b.lt end
	"\x4b\x01\x80\xd2" + // mov x11, #10
	"\x00\x28\x0b\x9b" + // madd x0, x0, x11, x10
	"\xfb\xff\xff\x17" + // b digit
	"\x5f\xc1\x00\x31" + // end: cmn w10, #'0': the list's end
	"\xe0\x01\x00\x54" + // b.eq execute
	"\xec\x03\x00\xaa" + // mov x12, x0
	"\x0d\x06\x80\xd2" + // mov x13, #'0'
	"\xed\x0f\x1f\xf8" + // str x13, [sp, #-16]!
	"\xe1\x03\x00\x91" + // mov x1, sp
	"\x22\x00\x80\xd2" + // mov x2, #1
	"\x08\x08\x80\xd2" + // mov x8, #64 (write)
	"\x01\x00\x00\xd4" + // svc #0
	"\xff\x43\x00\x91" + // add sp, sp, #16
	"\x1f\x04\x00\xf1" + // cmp x0, #1
	"\x41\x02\x00\x54" + // b.ne failed
	"\xe0\x03\x0c\xaa" + // mov x0, x12
	"\x28\x07\x80\xd2" + // mov x8, #57 (close)
	"\x01\x00\x00\xd4" + // svc #0
	"\xea\xff\xff\x17" + // b number
	"\xec\x03\x00\xaa" + // execute: mov x12, x0
	"\x41\x00\x80\xd2" + // mov x1, #2 (F_SETFD)
	"\x22\x00\x80\xd2" + // mov x2, #1 (FD_CLOEXEC)
	"\x28\x03\x80\xd2" + // mov x8, #25 (fcntl)
	"\x01\x00\x00\xd4" + // svc #0
	"\xe0\x03\x0c\xaa" + // mov x0, x12
	"\x21\x05\x00\xd1" + // sub x1, x9, #1: an empty path
	"\xea\x03\x40\xf9" + // ldr x10, [sp]: the number of arguments
	"\xe2\x43\x00\x91" + // add x2, sp, #16: from the second argument on
	"\x43\x0c\x0a\x8b" + // add x3, x2, x10, lsl #3: the environment
	"\x04\x00\x82\xd2" + // mov x4, #0x1000 (AT_EMPTY_PATH)
	"\x28\x23\x80\xd2" + // mov x8, #281 (execveat)
	"\x01\x00\x00\xd4" + // svc #0
	"\x80\x00\x80\xd2" + // failed: mov x0, #4
	"\xe1\x00\x00\x10" + // adr x1, text
	"\xa2\x08\x80\xd2" + // mov x2, #69
	"\x08\x08\x80\xd2" + // mov x8, #64 (write)
	"\x01\x00\x00\xd4" + // svc #0
	"\x20\x00\x80\xd2" + // mov x0, #1
	"\xc8\x0b\x80\xd2" + // mov x8, #94 (exit_group)
	"\x01\x00\x00\xd4" // svc #0
