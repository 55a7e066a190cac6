package entry

const (
	sysRead, sysClose, sysLseek, sysMmap, sysOpenat = 0, 3, 8, 9, 257
	sysUmount2, sysExitGroup                        = 166, 231
	sysPrctl, sysCapget, sysCapset                  = 157, 125, 126

	pageMost = 4 << 10 // how large a page can be
)
