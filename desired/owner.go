package desired

import (
	"fmt"
	"io/fs"
	"os"

	"sandboxer/internal/owner"
)

// Manifests are root's orders: whoever can write one, or put another in its
// place, commands the host.

// unsafe is owner.Others, and "" for all where that does not matter.
func (s *scanner) unsafe(info fs.FileInfo) string {
	if s.allowUnsafe {
		return ""
	}
	return owner.Others(info)
}

// unsafeFolder is unsafe for a folder by its link-free path.
func (s *scanner) unsafeFolder(real string) string {
	if s.allowUnsafe {
		return ""
	}
	info, err := os.Stat(real)
	if err != nil {
		return fmt.Sprintf("the folder %s cannot be checked: %v", real, err)
	}
	if why := s.unsafe(info); why != "" {
		return fmt.Sprintf("the folder %s %s", real, why)
	}
	return ""
}

// refusal is the message about a file that is not obeyed.
func refusal(why string) string {
	return "refused: " + why + "; only root and the daemon's user may be able to write manifests and their folders, unless the config file allows it"
}
