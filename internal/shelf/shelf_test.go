package shelf_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"sandboxer/internal/mountinfo"
	"sandboxer/internal/shelf"
	"sandboxer/internal/shelf/shelftest"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// host is a directory with things of a daemon's in it.
type host struct {
	*testing.T
	dir string
}

func newHost(t *testing.T, files ...string) host {
	t.Helper()
	h := host{t, t.TempDir()}
	for _, f := range files {
		check(t, os.MkdirAll(filepath.Dir(h.at(f)), 0o755))
		check(t, os.WriteFile(h.at(f), []byte("secret"), 0o644))
	}
	return h
}

func (h host) at(path string) string { return filepath.Join(h.dir, path) }

func (h host) hidden(paths ...string) (g shelf.Guard) {
	for _, p := range paths {
		g.Things = append(g.Things, shelf.Thing{What: "the thing", Path: h.at(p), Hidden: true})
	}
	return g
}

// as calls do where the sentry is, with the trees for its root.
func as(t *testing.T, ns shelftest.Namespace, root *os.File, do func() error) error {
	t.Helper()
	return ns.Do(t, func() error {
		if err := errors.Join(unix.Fchdir(int(root.Fd())), unix.Chroot(".")); err != nil {
			return err
		}
		return do()
	})
}

// What is hidden shows as empty, under any name, and neither it nor what it is
// in can be moved, removed or replaced by a process of the namespace.
func TestHidden(t *testing.T) {
	for _, readOnly := range []bool{false, true} {
		h := newHost(t, "a/b/own/secret", "a/b/socket", "a/other")
		link := filepath.Join(t.TempDir(), "link")
		check(t, os.Symlink(h.at("a/b"), link))
		g := h.hidden("a/b/own", "a/b/socket")
		g.Things[0].Path = link + "/own"
		ns := shelftest.New(t)
		root := ns.Put(t, "c.1", g, shelftest.Tree(t, h.dir, readOnly), shelftest.Tree(t, h.at("a/b"), readOnly))
		check(t, as(t, ns, root, func() error {
			for _, dir := range []string{"/0/a/b", "/1"} {
				if entries, err := os.ReadDir(dir + "/own"); err != nil || len(entries) > 0 {
					t.Errorf("%s/own shows %v, %v", dir, entries, err)
				}
				if b, err := os.ReadFile(dir + "/socket"); err != nil || len(b) > 0 {
					t.Errorf("%s/socket holds %q, %v", dir, b, err)
				}
				for what, err := range map[string]error{
					"mv own": os.Rename(dir+"/own", dir+"/own2"), "rmdir own": unix.Rmdir(dir + "/own"),
					"rm socket": os.Remove(dir + "/socket"), "replace socket": os.Rename("/0/a/other", dir+"/socket"),
					"write socket": os.WriteFile(dir+"/socket", []byte("x"), 0), "write own": os.WriteFile(dir+"/own/x", nil, 0o600),
				} {
					if err == nil {
						t.Errorf("%s in %s (read-only %v) succeeded", what, dir, readOnly)
					}
				}
			}
			for _, dir := range []string{"/0/a", "/0/a/b"} {
				if err := os.Rename(dir, dir+"2"); err == nil {
					t.Errorf("mv %s succeeded", dir)
				}
			}
			if err := os.WriteFile("/0/a/b/new", nil, 0o600); (err == nil) == readOnly {
				t.Errorf("writing beside it: %v (read-only %v)", err, readOnly)
			}
			return nil
		}))
		if b, err := os.ReadFile(h.at("a/b/own/secret")); err != nil || string(b) != "secret" {
			t.Errorf("on the host: %q, %v", b, err)
		}
	}
}

// A cover stays for whoever has a descriptor, when the container is gone.
func TestRemoved(t *testing.T) {
	h := newHost(t, "own/secret")
	ns := shelftest.New(t)
	root := ns.Put(t, "c.1", h.hidden("own"), shelftest.Tree(t, h.dir, false))
	kept, err := unix.Openat(int(root.Fd()), "0", unix.O_PATH|unix.O_DIRECTORY, 0)
	check(t, err)
	defer unix.Close(kept)
	check(t, shelf.Remove(ns, "c.1"))
	check(t, shelf.Remove(ns, "c.1"))
	if _, err := shelf.Open(ns, "c.1"); !errors.Is(err, shelf.ErrNone) {
		t.Errorf("it is still there: %v", err)
	}
	fd, err := unix.Openat(kept, "own/secret", unix.O_RDONLY, 0)
	if err == nil {
		unix.Close(fd)
		t.Error("it shows what was covered")
	}
	again := ns.Put(t, "c.1", h.hidden("own"), shelftest.Tree(t, h.dir, false))
	if same, err := shelf.Open(ns, "c.1"); err != nil {
		t.Error(err)
	} else {
		defer same.Close()
		var a, b unix.Stat_t
		check(t, errors.Join(unix.Fstat(int(again.Fd()), &a), unix.Fstat(int(same.Fd()), &b)))
		if a.Ino != b.Ino || a.Dev != b.Dev {
			t.Error("it is opened as another directory")
		}
	}
}

func cover(t *testing.T, ns shelf.Namespace, g shelf.Guard) {
	t.Helper()
	look, err := g.Look()
	check(t, err)
	_, err = shelf.Cover(ns, look)
	check(t, err)
}

// What came to be there later, or is another object by now, is covered then.
func TestCoveredLater(t *testing.T) {
	h := newHost(t, "own/socket")
	ns := shelftest.New(t)
	g := h.hidden("own/socket", "own/late")
	root := ns.Put(t, "c.1", g, shelftest.Tree(t, h.dir, true))
	where := func() string {
		l, err := g.Look()
		check(t, err)
		return l.Text()
	}
	before := where()
	check(t, os.WriteFile(h.at("own/new"), []byte("secret"), 0o644))
	check(t, os.Rename(h.at("own/new"), h.at("own/socket")))
	check(t, os.MkdirAll(h.at("own/late/x"), 0o755))
	if before == where() {
		t.Error("nobody would know that they are others")
	}
	for range 2 {
		cover(t, ns, g)
	}
	check(t, as(t, ns, root, func() error {
		if b, err := os.ReadFile("/0/own/socket"); err != nil || len(b) > 0 {
			t.Errorf("socket: %q, %v", b, err)
		}
		if entries, err := os.ReadDir("/0/own/late"); err != nil || len(entries) > 0 {
			t.Errorf("late: %v, %v", entries, err)
		}
		return nil
	}))
}

// A file that its owner replaces shows in a folder that is read-only, and what
// is inside of something hidden, or could be made where that is to be, is refused.
func TestRefused(t *testing.T) {
	h := newHost(t, "own/x/secret", "etc/config", "etc/more/file", "bin/program")
	check(t, os.MkdirAll(h.at("free"), 0o755))
	config := shelf.Thing{What: "the configuration file", Path: h.at("etc/config"), Replaced: true}
	lost := shelf.Thing{What: "the manifests' directory", Path: h.at("free/config"), Hidden: true}
	link := filepath.Join(h.at("free"), "link")
	check(t, os.Symlink(h.at("own"), link))
	linked := shelf.Thing{What: "the state directory", Path: link, Hidden: true}
	for _, c := range []struct {
		name     string
		thing    shelf.Thing
		tree     string
		readOnly bool
		want     string
	}{
		{"inside", h.hidden("own").Things[0], "own/x", true, "own"},
		{"itself", h.hidden("own").Things[0], "own", true, "own"},
		{"link", linked, "free", false, "free/link"},
		{"folder", config, "etc", false, "etc is the folder of the configuration file"},
		{"folder read-only", config, "etc", true, ""},
		{"below", config, "", false, ""},
		{"beside", config, "bin", false, ""},
		{"missing", lost, "free", false, "not there yet"},
		{"missing below", lost, "", false, ""},
		{"missing read-only", lost, "free", true, ""},
	} {
		g := shelf.Guard{}
		if c.thing.Path != "" {
			g.Things = append(g.Things, c.thing)
		}
		source := c.tree
		if !filepath.IsAbs(source) {
			source = h.at(source)
		}
		ns := shelftest.New(t)
		root, _, err := shelf.Put(ns, "c.1", []shelf.Tree{shelftest.Tree(t, source, c.readOnly)}, g)
		if c.want != "" {
			if !errors.Is(err, shelf.ErrRefused) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), source) {
				t.Errorf("%s: %v, want %q and %q", c.name, err, c.want, source)
			}
			if _, err := shelf.Open(ns, "c.1"); !errors.Is(err, shelf.ErrNone) {
				t.Errorf("%s: it is there: %v", c.name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		defer root.Close()
		if c.name == "below" {
			check(t, as(t, ns, root, func() error {
				for what, err := range map[string]error{
					"write": os.WriteFile("/0/etc/config", nil, 0o600), "make": os.WriteFile("/0/etc/new", nil, 0o600),
					"below": os.WriteFile("/0/etc/more/file", nil, 0o600), "mv": os.Rename("/0/etc", "/0/etc2"),
				} {
					if err == nil {
						t.Errorf("%s succeeded", what)
					}
				}
				return os.WriteFile("/0/bin/program", nil, 0o600)
			}))
		}
	}
}

// The folder in which a file is replaced is no tree that can be written: the next file
// would be a container's for as long as nothing covers it. One that is not there is
// made where a container could else make its folder.
func TestReplaced(t *testing.T) {
	h := newHost(t, "program", "disk/program", "disk/file", "view/file")
	check(t, unix.Mount(h.at("disk"), h.at("view"), "", unix.MS_BIND, ""))
	defer func() { check(t, unix.Unmount(h.at("view"), unix.MNT_DETACH)) }()
	program := shelf.Thing{What: "the program", Path: h.at("program"), Replaced: true}
	config := shelf.Thing{What: "the configuration file", Path: h.at("config"), Hidden: true, Replaced: true, Empty: true}
	for _, thing := range []shelf.Thing{program, config} {
		g := shelf.Guard{Things: []shelf.Thing{thing}}
		_, _, err := shelf.Put(shelftest.New(t), "c.1", []shelf.Tree{shelftest.Tree(t, h.dir, false)}, g)
		if !errors.Is(err, shelf.ErrRefused) || !strings.Contains(err.Error(), h.dir+" is the folder of "+thing.What+" "+thing.Path) {
			t.Errorf("%s: %v", thing.What, err)
		}
		shelftest.New(t).Put(t, "c.1", g, shelftest.Tree(t, h.dir, true))

		// It is too late to refuse one that runs, which is told.
		ns := shelftest.New(t)
		root := ns.Put(t, "c.1", shelf.Guard{}, shelftest.Tree(t, h.dir, false))
		look, err := g.Look()
		check(t, err)
		for range 2 { // the second time it is covered
			exposed, err := shelf.Cover(ns, look)
			if err != nil || len(exposed) != 1 || exposed[0].Thing != thing || !strings.Contains(exposed[0].String(), h.dir+" is the folder of ") {
				t.Errorf("%s: exposed: %v, %v", thing.What, exposed, err)
			}
		}
		if thing != program {
			continue
		}
		check(t, as(t, ns, root, func() error {
			if err := os.WriteFile("/0/program", nil, 0); err == nil {
				t.Error("the program is written all the same")
			}
			return nil
		}))
	}
	if _, err := os.Lstat(h.at("config")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the configuration file: %v", err)
	}

	program.Path, config.Path = h.at("disk/program"), h.at("etc/config")
	ns := shelftest.New(t)
	root := ns.Put(t, "c.1", shelf.Guard{Things: []shelf.Thing{program, config}}, shelftest.Tree(t, h.dir, false), shelftest.Tree(t, h.dir, true))
	if info, err := os.Stat(h.at("etc/config")); err != nil || info.Size() != 0 {
		t.Errorf("%v, %v", info, err)
	}
	check(t, as(t, ns, root, func() error {
		for _, name := range []string{"disk/program", "view/program", "etc/config"} {
			for _, name := range []string{"/0/" + name, "/1/" + name} {
				for what, err := range map[string]error{
					"write": os.WriteFile(name, nil, 0), "rm": os.Remove(name), "mv": os.Rename(name, name+"2"), "make": os.WriteFile(name+".new", nil, 0o600),
				} {
					if err == nil {
						t.Errorf("%s %s succeeded", what, name)
					}
				}
			}
		}
		if b, err := os.ReadFile("/1/disk/program"); err != nil || string(b) != "secret" {
			t.Errorf("a program that can only be read: %q, %v", b, err)
		}
		return nil
	}))
}

// Of the kernel's file systems nothing shows unless that is allowed.
func TestKernel(t *testing.T) {
	for _, allowed := range []bool{false, true} {
		ns := shelftest.New(t)
		root, emptied, err := shelf.Put(ns, "c.1", []shelf.Tree{shelftest.Tree(t, "/proc/sys", true)}, shelf.Guard{Kernel: allowed})
		check(t, err)
		defer root.Close()
		if got := strings.Join(emptied, "; "); allowed != (got == "") || !allowed && (!strings.Contains(got, "/proc/sys") || !strings.Contains(got, "allowKernelFileSystems")) {
			t.Errorf("allowed %v: %q", allowed, got)
		}
		check(t, as(t, ns, root, func() error {
			if entries, err := os.ReadDir("/0"); err != nil || (len(entries) > 0) != allowed {
				t.Errorf("allowed %v: %v, %v", allowed, entries, err)
			}
			return nil
		}))
	}
}

// Other mounts of the same file system, and what is mounted in a tree, are looked
// through like the tree itself.
func TestOtherMounts(t *testing.T) {
	h := newHost(t, "disk/own/secret", "view/file", "deep/file")
	for from, to := range map[string]string{"disk": "view", "disk/own": "deep"} {
		check(t, unix.Mount(h.at(from), h.at(to), "", unix.MS_BIND, ""))
		defer func() { check(t, unix.Unmount(h.at(to), unix.MNT_DETACH)) }()
	}
	check(t, os.Mkdir(h.at("disk/proc"), 0o755))
	check(t, unix.Mount("proc", h.at("disk/proc"), "proc", 0, ""))
	defer func() { check(t, unix.Unmount(h.at("disk/proc"), unix.MNT_DETACH)) }()
	ns := shelftest.New(t)
	root := ns.Put(t, "c.1", h.hidden("disk/own"), shelftest.Tree(t, h.dir, false), shelftest.Tree(t, h.at("view"), false))
	check(t, as(t, ns, root, func() error {
		for _, dir := range []string{"/0/disk/own", "/0/view/own", "/0/deep", "/0/disk/proc", "/1/own"} {
			if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
				t.Errorf("%s shows %v, %v", dir, entries, err)
			}
		}
		return nil
	}))
	if _, _, err := shelf.Put(ns, "c.2", []shelf.Tree{shelftest.Tree(t, h.at("deep"), true)}, h.hidden("disk/own")); !errors.Is(err, shelf.ErrRefused) {
		t.Errorf("another mount of it: %v", err)
	}
}

// overlay mounts one.
func (h host) overlay(at, lower string) {
	h.Helper()
	for _, dir := range []string{at, at + ".upper", at + ".work"} {
		check(h.T, os.MkdirAll(h.at(dir), 0o755))
	}
	options := "lowerdir=" + strings.ReplaceAll(h.at(lower), ":", `\:`) + ",upperdir=" + h.at(at+".upper") + ",workdir=" + h.at(at+".work")
	check(h.T, unix.Mount("overlay", h.at(at), "overlay", 0, options))
	h.Cleanup(func() { check(h.T, unix.Unmount(h.at(at), unix.MNT_DETACH)) })
}

// What is hidden shows in no overlay that is made of what holds it, and what is on
// an overlay not in what that is made of.
func TestOverlays(t *testing.T) {
	// Overlays are on a file system of the test's own: not every one may be below.
	h := host{t, t.TempDir()}
	check(t, unix.Mount("tmpfs", h.dir, "tmpfs", 0, ""))
	t.Cleanup(func() { check(t, unix.Unmount(h.dir, unix.MNT_DETACH)) })
	for _, f := range []string{"a:b/own/secret", "a:b/file", "else/file"} {
		check(t, os.MkdirAll(filepath.Dir(h.at(f)), 0o755))
		check(t, os.WriteFile(h.at(f), []byte("secret"), 0o644))
	}
	h.overlay("trees/over", "a:b")
	h.overlay("trees/inside", "a:b/own")
	h.overlay("trees/else", "else")
	g := h.hidden("a:b/own")
	ns := shelftest.New(t)
	for _, tree := range []string{"trees/over", "trees/inside"} {
		if _, _, err := shelf.Put(ns, "c.1", []shelf.Tree{shelftest.Tree(t, h.at(tree), true)}, g); !errors.Is(err, shelf.ErrRefused) || !strings.Contains(err.Error(), h.at(tree)) || !strings.Contains(err.Error(), h.at("a:b/own")) {
			t.Errorf("%s: %v", tree, err)
		}
	}
	if _, _, err := shelf.Put(ns, "c.1", []shelf.Tree{shelftest.Tree(t, h.at("trees/over/own"), true)}, g); !errors.Is(err, shelf.ErrRefused) {
		t.Errorf("a directory of an overlay: %v", err)
	}
	root := ns.Put(t, "c.2", g, shelftest.Tree(t, h.at("trees"), false), shelftest.Tree(t, h.at("trees/else"), false))
	check(t, as(t, ns, root, func() error {
		for _, dir := range []string{"/0/over", "/0/inside"} {
			if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
				t.Errorf("%s shows %v, %v", dir, entries, err)
			}
		}
		for _, file := range []string{"/0/else/file", "/1/file"} {
			if b, err := os.ReadFile(file); err != nil || string(b) != "secret" {
				t.Errorf("%s holds %q, %v", file, b, err)
			}
		}
		return nil
	}))

	// The thing itself is on an overlay.
	check(t, os.MkdirAll(h.at("trees/else/own"), 0o755))
	check(t, os.WriteFile(h.at("trees/else/own/secret"), []byte("secret"), 0o600))
	root = ns.Put(t, "c.3", h.hidden("trees/else/own"), shelftest.Tree(t, h.at("trees"), false))
	check(t, as(t, ns, root, func() error {
		for _, dir := range []string{"/0/else/own", "/0/else.upper/own"} {
			if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
				t.Errorf("%s shows %v, %v", dir, entries, err)
			}
		}
		return nil
	}))
}

// overlayOf mounts an overlay with options that fsconfig gets as they are.
func (h host) overlayOf(at string, options ...[2]string) {
	h.Helper()
	check(h.T, os.MkdirAll(h.at(at), 0o755))
	fs, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	check(h.T, err)
	defer unix.Close(fs)
	for _, o := range options {
		check(h.T, unix.FsconfigSetString(fs, o[0], o[1]))
	}
	check(h.T, unix.FsconfigCreate(fs))
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	check(h.T, err)
	defer unix.Close(fd)
	check(h.T, unix.MoveMount(fd, "", unix.AT_FDCWD, h.at(at), unix.MOVE_MOUNT_F_EMPTY_PATH))
	h.Cleanup(func() { check(h.T, unix.Unmount(h.at(at), unix.MNT_DETACH)) })
}

// What is hidden shows in no overlay whose directories have names that mount options
// have to escape.
func TestNamesOfLayers(t *testing.T) {
	for name, c := range map[string]struct {
		option, dir string
		escape      string // as fsconfig gets the directory
		unsure      bool
	}{
		"comma":           {option: "upperdir", dir: "up,c", escape: "up,c"},
		"colon":           {option: "upperdir", dir: "up:c", escape: "up:c"},
		"escaped comma":   {option: "upperdir", dir: "up,c", escape: `up\,c`, unsure: true},
		"lower":           {option: "lowerdir", dir: "lo:w", escape: `lo\:w`},
		"lower, comma":    {option: "lowerdir", dir: "lo,w", escape: "lo,w"},
		"added":           {option: "lowerdir+", dir: "lo:w", escape: "lo:w"},
		"added, comma":    {option: "lowerdir+", dir: "lo,w", escape: "lo,w"},
		"space, NBSP, CR": {option: "lowerdir", dir: "l o\u00a0\r", escape: "l o\u00a0\r"},
	} {
		t.Run(name, func(t *testing.T) {
			h := host{t, t.TempDir()}
			check(t, unix.Mount("tmpfs", h.dir, "tmpfs", 0, ""))
			t.Cleanup(func() { check(t, unix.Unmount(h.dir, unix.MNT_DETACH)) })
			for _, dir := range []string{"else", "work", c.dir} {
				check(t, os.MkdirAll(h.at(dir), 0o755))
			}
			options := [][2]string{{"lowerdir+", h.at("else")}, {c.option, h.at(c.escape)}, {"workdir", h.at("work")}}
			switch c.option {
			case "upperdir":
			case "lowerdir":
				options = [][2]string{{"lowerdir", h.at(c.escape) + ":" + h.at("else")}}
			default:
				options = options[:2]
			}
			h.overlayOf("trees/over", options...)
			// An overlay of one shows it, too.
			h.overlayOf("trees/again", [2]string{"lowerdir+", h.at("trees/over")}, [2]string{"lowerdir+", h.at("else")})
			check(t, os.MkdirAll(h.at(c.dir+"/own"), 0o755))
			check(t, os.WriteFile(h.at(c.dir+"/own/secret"), nil, 0o600))
			g, ns := h.hidden(c.dir+"/own"), shelftest.New(t)
			for _, tree := range []string{"trees/over", "trees/again"} {
				_, _, err := shelf.Put(ns, "c.1", []shelf.Tree{shelftest.Tree(t, h.at(tree), true)}, g)
				if !errors.Is(err, shelf.ErrRefused) || strings.Contains(err.Error(), "in two ways") != c.unsure {
					t.Errorf("%s: %v", tree, err)
				}
			}
			root := ns.Put(t, "c.2", g, shelftest.Tree(t, h.at("trees"), false))
			check(t, as(t, ns, root, func() error {
				for _, dir := range []string{"/0/over", "/0/again"} {
					if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
						t.Errorf("%s shows %v, %v", dir, entries, err)
					}
				}
				return nil
			}))
		})
	}
}

// A directory that an overlay is made of and that does not answer is not looked at: what
// would have to be looked for in it is not shown, and what is on it can be anywhere.
func TestSilentLayers(t *testing.T) {
	h := host{t, t.TempDir()}
	check(t, unix.Mount("tmpfs", h.dir, "tmpfs", 0, ""))
	t.Cleanup(func() { check(t, unix.Unmount(h.dir, unix.MNT_DETACH)) })
	check(t, os.MkdirAll(h.at("silent"), 0o755))
	h.overlay("over", "silent")
	silent := errors.New("it does not answer")
	asked := func(name string) error {
		if name == h.at("silent") {
			return silent
		}
		return nil
	}
	g := shelf.Guard{Answers: asked}
	if _, _, err := shelf.Put(shelftest.New(t), "c.1", []shelf.Tree{shelftest.Tree(t, h.at("over"), true)}, g); !errors.Is(err, silent) {
		t.Errorf("it is shown: %v", err)
	}
	mounts, err := mountinfo.Read()
	check(t, err)
	f := shelftest.Tree(t, h.at("over"), true).File
	for answers, want := range map[bool]bool{true: false, false: true} {
		ask := asked
		if answers {
			ask = nil
		}
		if where, err := shelf.Around(f, mounts, ask); err != nil || where.Anywhere != want {
			t.Errorf("answers %t: %+v, %v", answers, where, err)
		}
	}
}

// What an administrator renames on the host stays covered.
func TestRenamedOnHost(t *testing.T) {
	h := newHost(t, "a/b/own/secret", "a/b/socket")
	g := h.hidden("a/b/own", "a/b/socket")
	ns := shelftest.New(t)
	root := ns.Put(t, "c.1", g, shelftest.Tree(t, h.dir, false))
	check(t, os.Rename(h.at("a/b"), h.at("a/c")))
	check(t, os.Rename(h.at("a"), h.at("z")))
	check(t, os.Rename(h.at("z/c/own"), h.at("z/mine")))
	look := func() error {
		for _, dir := range []string{"/0/z/mine", "/0/a/b/own", "/0/z/c/own"} {
			if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
				t.Errorf("%s shows %v, %v", dir, entries, err)
			}
		}
		if b, err := os.ReadFile("/0/z/c/socket"); err != nil || len(b) > 0 {
			t.Errorf("the socket holds %q, %v", b, err)
		}
		return nil
	}
	check(t, as(t, ns, root, look))
	cover(t, ns, g)
	check(t, as(t, ns, root, look))
}
