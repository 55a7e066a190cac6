// Package role decides which of the program's processes this one is. One
// binary serves as command line, daemon, gofer and sentry; all but
// the first two are told by the name or the first argument that their parent
// gave them.
package role

import (
	"sandboxer/gofer"
	"sandboxer/gofer/serve"
	"sandboxer/internal/answers"
	"sandboxer/internal/sentry"
)

// Run runs the helper process that args, a full command line, name. It
// reports false where they name none; otherwise status is the exit status.
func Run(args []string) (status int, ok bool) {
	if len(args) == 0 {
		return 0, false
	}
	switch args[0] {
	case sentry.Arg0:
		sentry.Main()
	case gofer.Arg0:
		return serve.Main(), true
	case answers.Arg0:
		return answers.Main(), true
	case "/proc/self/exe":
		// gVisor starts its unmount helper without a name of its own.
		if len(args) > 1 && args[1] == "umount" {
			sentry.Main()
		}
	}
	return 0, false
}
