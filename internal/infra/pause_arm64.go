package infra

const pauseMachine = 183 // EM_AARCH64

// pauseCode waits for ever: ppoll(0, 0, 0, 0, 0); b to the start.
const pauseCode = "" +
	"\x00\x00\x80\xd2" + // mov x0, #0
	"\x01\x00\x80\xd2" + // mov x1, #0
	"\x02\x00\x80\xd2" + // mov x2, #0
	"\x03\x00\x80\xd2" + // mov x3, #0
	"\x04\x00\x80\xd2" + // mov x4, #0
	"\x28\x09\x80\xd2" + // mov x8, #73 (ppoll)
	"\x01\x00\x00\xd4" + // svc #0
	"\xf9\xff\xff\x17" // b to the start
