package desired

import (
	"fmt"
	"io/fs"
	"slices"

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

// unsafeFolder is owner.Folder, and "" for all where that does not matter.
func (s *scanner) unsafeFolder(real string) string {
	if s.allowUnsafe {
		return ""
	}
	why, err := owner.Folder(real)
	if err != nil {
		return fmt.Sprintf("the folder %s cannot be checked: %v", real, err)
	}
	return why
}

// outOfReach is for who knows that no container writes manifests, or does not
// obey them.
func outOfReach() Reach { return func(string, fs.FileInfo, bool) error { return nil } }

// refusedFolder says why nothing in a folder is obeyed.
func (p *pass) refusedFolder(f *folder, info fs.FileInfo) string {
	if f.unsafe != "" {
		return refusal(f.unsafe)
	}
	if f.parent == nil || !info.IsDir() {
		return ""
	}
	return p.reachable(f.real, info)
}

// reachable says why a manifest, a folder or a link is not obeyed as a container may
// have written it.
func (p *pass) reachable(real string, info fs.FileInfo) string {
	if p.allowUnsafe {
		return ""
	}
	elsewhere := !slices.ContainsFunc(p.reals, func(dir string) bool { return within(real, dir) })
	if err := p.reach(real, info, elsewhere); err != nil {
		return err.Error()
	}
	return ""
}

// refusal is the message about a file that is not obeyed.
func refusal(why string) string {
	return "refused: " + why + "; only root and the daemon's user may be able to write manifests and their folders, unless the config file allows it"
}
