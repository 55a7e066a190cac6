package entry

const (
	sysRead, sysClose, sysLseek, sysMmap, sysOpenat = 0, 3, 8, 9, 257

	pageMost = 4 << 10 // how large a page can be
)
