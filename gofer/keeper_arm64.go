package gofer

import "golang.org/x/sys/unix"

// keeperCode drops all capabilities and lets the filter behind it allow nothing
// but what follows: it reads one byte from descriptor 3 and waits for ever, or
// ends where nobody will ever write one.
const keeperCode = "" +
	"\xf3\x17\x40\xb2" + // mov x19, #63: the highest capability that there can be
	"\xe0\x07\x7d\xb2" + // drop: mov x0, #24 (PR_CAPBSET_DROP)
	"\xe1\x03\x13\xaa" + // mov x1, x19
	"\xe8\x14\x80\xd2" + // mov x8, #167 (prctl)
	"\x01\x00\x00\xd4" + // svc #0
	"\x73\x06\x00\xf1" + // subs x19, x19, #1
	"\x65\xff\xff\x54" + // b.pl drop
	"\xff\x03\x01\xd1" + // sub sp, sp, #64
	"\xff\x7f\x01\xa9" + // stp xzr, xzr, [sp, #16]
	"\xff\x7f\x02\xa9" + // stp xzr, xzr, [sp, #32]
	"\x49\xa4\x80\xd2" + // mov x9, #0x522
	"\x09\x01\xa4\xf2" + // movk x9, #0x2008, lsl #16
	"\xe9\x03\x00\xf9" + // str x9, [sp]
	"\xe0\x03\x00\x91" + // mov x0, sp
	"\xe1\x43\x00\x91" + // add x1, sp, #16
	"\x68\x0b\x80\xd2" + // mov x8, #91 (capset)
	"\x01\x00\x00\xd4" + // svc #0
	"\x40\x04\x00\xb5" + // cbnz x0, exit
	"\xc0\x04\x80\xd2" + // mov x0, #38 (PR_SET_NO_NEW_PRIVS)
	"\xe1\x03\x40\xb2" + // mov x1, #1
	"\xe2\x03\x1f\xaa" + // mov x2, xzr
	"\xe3\x03\x1f\xaa" + // mov x3, xzr
	"\xe4\x03\x1f\xaa" + // mov x4, xzr
	"\xe8\x14\x80\xd2" + // mov x8, #167 (prctl)
	"\x01\x00\x00\xd4" + // svc #0
	"\x40\x03\x00\xb5" + // cbnz x0, exit
	"\xe9\x03\x7d\xb2" + // mov x9, #8: the filter's instructions
	"\xe9\x03\x00\xf9" + // str x9, [sp]
	"\x49\x03\x00\x10" + // adr x9, filter
	"\xe9\x07\x00\xf9" + // str x9, [sp, #8]
	"\xc0\x02\x80\xd2" + // mov x0, #22 (PR_SET_SECCOMP)
	"\xe1\x03\x7f\xb2" + // mov x1, #2 (a filter)
	"\xe2\x03\x00\x91" + // mov x2, sp
	"\xe8\x14\x80\xd2" + // mov x8, #167 (prctl)
	"\x01\x00\x00\xd4" + // svc #0
	"\x00\x02\x00\xb5" + // cbnz x0, exit
	"\xe0\x07\x40\xb2" + // mov x0, #3
	"\xe1\x03\x00\x91" + // mov x1, sp
	"\xe2\x03\x40\xb2" + // mov x2, #1
	"\xe8\x17\x40\xb2" + // mov x8, #63 (read)
	"\x01\x00\x00\xd4" + // svc #0
	"\x1f\x04\x00\xf1" + // cmp x0, #1
	"\x21\x01\x00\x54" + // b.ne exit
	"\xe0\x03\x1f\xaa" + // loop: mov x0, xzr
	"\xe1\x03\x1f\xaa" + // mov x1, xzr
	"\xe2\x03\x1f\xaa" + // mov x2, xzr
	"\xe3\x03\x1f\xaa" + // mov x3, xzr
	"\xe4\x03\x1f\xaa" + // mov x4, xzr
	"\x28\x09\x80\xd2" + // mov x8, #73 (ppoll)
	"\x01\x00\x00\xd4" + // svc #0
	"\xf9\xff\xff\x17" + // b loop
	"\xe0\x03\x1f\xaa" + // exit: mov x0, xzr
	"\xc8\x0b\x80\xd2" + // mov x8, #94 (exit_group)
	"\x01\x00\x00\xd4" // svc #0

// keeperCalls are all that the keeper does once it is confined.
var keeperCalls = [...]uint32{unix.SYS_READ, unix.SYS_PPOLL, unix.SYS_EXIT_GROUP}

const keeperArch = unix.AUDIT_ARCH_AARCH64
