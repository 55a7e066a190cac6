package entry

const (
	sysRead, sysClose, sysLseek, sysMmap, sysOpenat = 63, 57, 62, 222, 56
	sysUmount2, sysExitGroup                        = 39, 94
	sysPrctl, sysCapget, sysCapset                  = 167, 90, 91

	pageMost = 64 << 10 // how large a page can be
)
