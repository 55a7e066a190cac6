package desired

import (
	"fmt"
	"io/fs"
	"os"
)

// Manifests are root's orders: whoever can write one, or put another in its
// place, commands the host.

// unsafe says how somebody other than root and the daemon's user can write
// what info describes, and "" where nobody can.
func (s *scanner) unsafe(info fs.FileInfo) string {
	if s.allowUnsafe {
		return ""
	}
	_, st := stampOf(info)
	mode := info.Mode().Perm()
	switch {
	case st.Uid != 0 && st.Uid != s.uid:
		return fmt.Sprintf("belongs to user %d, who can write it", st.Uid)
	case mode&0o002 != 0:
		return fmt.Sprintf("can be written by everybody (mode %04o)", mode)
	case mode&0o020 != 0:
		// POSIX ACLs show here too: their mask takes the group's place.
		return fmt.Sprintf("can be written by group %d (mode %04o)", st.Gid, mode)
	}
	return ""
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
