package desired

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"sandboxer/internal/owner"
)

// root is one directory (or, for ReadDir, file) that was asked for.
type root struct {
	path  string // absolute
	shown string // what Source begins with; "" for nothing
}

// scanner reads manifest directories. It keeps what it has read, by stamp, so
// that a scan of unchanged files costs a stat each.
type scanner struct {
	roots       []root
	allowUnsafe bool
	now         func() time.Time
	answers     func() Answers
	reach       func() Reach
	watch       *watcher // nil for none
	cache       map[string]reading
}

// reading is what a file held when its stamp was taken.
type reading struct {
	stamp stamp
	at    time.Time
	sum   [sha256.Size]byte
	docs  []Document
}

// racy is how young a change may be for its time stamp to be doubted: a
// second one within the clock's tick would leave the stamp as it was.
const racy = 2 * time.Second

// pass is one scan in the making.
type pass struct {
	*scanner
	answers Answers
	reach   Reach
	reals   []string // of the roots that are directories, without links
	out     scan
	folders map[fileID]string // shown paths of those seen
	files   map[fileID]string
	cache   map[string]reading
}

// folder is a directory being walked.
type folder struct {
	path   string // absolute, as named
	shown  string
	real   string // without links
	unsafe string // why nothing in it may be obeyed
	parent *folder
}

// scan looks at everything once.
func (s *scanner) scan() scan {
	s.watch.begin()
	p := &pass{scanner: s, answers: s.answers(), reach: s.reach(), folders: map[fileID]string{}, files: map[fileID]string{}, cache: map[string]reading{}}
	p.out = scan{at: s.now(), folders: map[string]stamp{}}
	for _, r := range s.roots {
		p.root(r)
	}
	s.cache = p.cache
	s.watch.end()
	return p.out
}

func (p *pass) problem(shown, format string, args ...any) {
	p.out.problems = append(p.out.problems, Problem{File: shown, Message: fmt.Sprintf(format, args...)})
}

func (p *pass) skip(shown, format string, args ...any) {
	p.out.skipped = append(p.out.skipped, Problem{File: shown, Message: fmt.Sprintf(format, args...)})
}

// block reports what cannot be looked at: then nothing may be taken for gone.
func (p *pass) block(shown, what string, err error) {
	message := what + reason(err)
	p.problem(shown, "%s", message)
	p.out.blocked = append(p.out.blocked, fmt.Sprintf("%s: %s", shown, message))
}

// reason words an error without its path, which the report names anyway.
func reason(err error) string {
	if pe := (*fs.PathError)(nil); errors.As(err, &pe) {
		err = pe.Err
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "does not exist"
	case errors.Is(err, syscall.ELOOP):
		return "a cycle of symbolic links"
	}
	return "cannot be read: " + err.Error()
}

// root walks one of the directories that were asked for.
func (p *pass) root(r root) {
	name := r.shown
	if name == "" {
		name = r.path
	}
	var real string
	var links []string
	err := p.answers(r.path, false)
	if err == nil {
		real, links, err = owner.Resolve("/", r.path, p.watch.look)
	}
	if err != nil {
		p.block(name, "", err)
		return
	}
	info, err := os.Stat(real)
	if err != nil {
		p.block(name, "", err)
		return
	}
	if !info.IsDir() {
		f := &folder{path: filepath.Dir(r.path), real: filepath.Dir(real)}
		f.unsafe = p.unsafeFolders(append(links, f.real))
		p.file(f, r.path, name, real, "")
		return
	}
	p.reals = append(p.reals, real)
	p.folder(&folder{path: r.path, shown: r.shown, real: real, unsafe: p.unsafeFolders(append(links, real))})
}

func (p *pass) unsafeFolders(folders []string) string {
	for _, dir := range folders {
		if why := p.unsafeFolder(dir); why != "" {
			return why
		}
	}
	return ""
}

// folder walks one directory and what is below it.
func (p *pass) folder(f *folder) {
	if err := p.answers(f.real, true); err != nil {
		p.out.faulty = append(p.out.faulty, f.path)
		p.block(f.name(), "", err)
		return
	}
	info, err := os.Lstat(f.real)
	if err != nil {
		p.lost(f, err)
		return
	}
	at, _ := stampOf(info)
	if why := p.unsafe(info); why != "" && f.unsafe == "" {
		f.unsafe = fmt.Sprintf("the folder %s %s", f.real, why)
	}
	if why := p.refusedFolder(f, info); why != "" {
		p.refuse(f.path, f.name(), why)
		return
	}
	if first, seen := p.folders[at.id()]; seen {
		p.skip(f.name(), "the same folder as %s", first)
		return
	}
	p.folders[at.id()] = f.name()
	p.watch.folder(f.real, at.id())
	// The stamp is older than the list: a change between them shows later.
	entries, err := os.ReadDir(f.real)
	if err != nil {
		p.lost(f, err)
		return
	}
	p.out.folders[f.path] = at
	for _, e := range entries {
		p.entry(f, e)
	}
}

func (f *folder) name() string {
	if f.shown == "" {
		return f.path
	}
	return f.shown
}

// lost deals with a folder that cannot be listed. One that has gone since its
// parent was listed is simply not there.
func (p *pass) lost(f *folder, err error) {
	if f.parent == nil || !errors.Is(err, fs.ErrNotExist) {
		p.block(f.name(), "", err)
	}
}

// entry looks at one name of a folder.
func (p *pass) entry(f *folder, e fs.DirEntry) {
	name := e.Name()
	path, shown, real := filepath.Join(f.path, name), filepath.Join(f.shown, name), filepath.Join(f.real, name)
	if strings.HasPrefix(name, ".") {
		p.skip(shown, "its name begins with a dot")
		return
	}
	mode, unsafe := e.Type(), ""
	if mode&fs.ModeSymlink != 0 {
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return
		}
		if err != nil {
			p.block(shown, "", err)
			return
		}
		if why := p.reachable(real, info); why != "" {
			p.refuse(path, shown, why)
			return
		}
		if real, mode, unsafe, err = p.link(f, name); err != nil {
			p.out.faulty = append(p.out.faulty, path)
			if errors.Is(err, syscall.ELOOP) {
				p.problem(shown, "%s", reason(err))
			} else {
				p.block(shown, "the target of the symbolic link ", err)
			}
			return
		}
		if unsafe != "" { // who decides what it leads to decides nothing by that
			p.out.faulty = append(p.out.faulty, path)
		}
	}
	switch {
	case mode.IsDir():
		p.below(f, &folder{path: path, shown: shown, real: real, unsafe: unsafe, parent: f})
	case !manifestName(name):
		p.skip(shown, "its name does not end in .yaml, .yml or .json")
	case !mode.IsRegular():
		p.problem(shown, "not a regular file")
		p.out.faulty = append(p.out.faulty, path)
	default:
		p.file(f, path, shown, real, unsafe)
	}
}

// below walks a folder inside f, unless a link leads from it back up.
func (p *pass) below(f, sub *folder) {
	for up := f; up != nil; up = up.parent {
		if up.real == sub.real || strings.HasPrefix(up.real, strings.TrimSuffix(sub.real, "/")+"/") {
			p.problem(sub.shown, "a cycle of symbolic links: it leads back to %s, which contains it", sub.real)
			p.out.faulty = append(p.out.faulty, sub.path)
			return
		}
	}
	p.folder(sub)
}

// link follows the symbolic link name in f.
func (p *pass) link(f *folder, name string) (real string, mode fs.FileMode, unsafe string, err error) {
	if err := p.answers(filepath.Join(f.real, name), false); err != nil {
		return "", 0, "", err
	}
	real, links, err := owner.Resolve(f.real, name, p.watch.look)
	if err != nil {
		return "", 0, "", err
	}
	info, err := os.Lstat(real)
	if err != nil {
		return "", 0, "", err
	}
	folder := real
	if !info.IsDir() {
		folder = filepath.Dir(real)
	}
	return real, info.Mode().Type(), p.unsafeFolders(append(links, folder)), nil
}

// refuse notes that nothing in a folder is obeyed, neither what is there nor what
// is not. It is not looked into: what is below is another's, however much it is.
func (p *pass) refuse(path, shown, why string) {
	p.out.faulty = append(p.out.faulty, path)
	p.out.refused = append(p.out.refused, refused{path: path, shown: shown, why: why})
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func manifestName(name string) bool {
	switch filepath.Ext(name) {
	case ".yaml", ".yml", ".json":
		return true
	}
	return false
}
