package serve

// The descriptors that every gofer finds open.
const (
	// ConfigFD reads the JSON of a Config to its end.
	ConfigFD = 3
	// StatusFD takes the outcome of the start: Ready, or an error's text, and
	// is closed then. A gofer that takes over says Prepared before that.
	StatusFD = 4
)

// What is written to StatusFD.
const (
	// Prepared: the gofer waits for TakeOverFD.
	Prepared = "prepared\n"
	// Ready: the gofer serves.
	Ready = "ok"
)

// What comes from TakeOverFD, a byte each: first what the container had bound,
// then of each mount whether the sentry has the answer to the request that waits
// first in the socket.
const (
	// Socket comes with up to MaxFDs sockets.
	Socket     = 's'
	Unanswered = '0'
	Answered   = '1'
)

// Config tells a gofer what to serve. Descriptors are given by number.
type Config struct {
	// Mounts are served in this order; the root file system is the first.
	Mounts []Mount `json:"mounts"`
	// RootFD is the directory in which mount i is called by its number.
	RootFD int `json:"rootFD"`
	// TakeOverFD is a socket that says all of that once the last gofer is gone
	// and this one is on record: what was not told so by then ends. 0 for a
	// container's first gofer.
	TakeOverFD int `json:"takeOverFD,omitempty"`
}

// lastFD is the highest number of a donated descriptor.
func (c Config) lastFD() int {
	last := max(ConfigFD, StatusFD, c.RootFD, c.TakeOverFD)
	for _, m := range c.Mounts {
		last = max(last, m.SocketFD, m.JournalFD)
	}
	return last
}

// Mount is one tree, or one file, of the host that the container sees.
type Mount struct {
	// Source is what messages call it.
	Source string `json:"source"`
	// ReadOnly: its mounts refuse every change.
	ReadOnly bool `json:"readOnly,omitempty"`
	// Sockets lets the container connect to the host's unix sockets in the
	// mount, and bind sockets of its own there.
	Sockets bool `json:"sockets,omitempty"`
	// SocketFD is this gofer's end of the lisafs connection.
	SocketFD int `json:"socketFD"`
	// JournalFD is the mount's journal, see journal.
	JournalFD int `json:"journalFD"`
}
