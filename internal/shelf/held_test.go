package shelf_test

import (
	"errors"
	"os"
	"path"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"sandboxer/internal/shelf"
	"sandboxer/internal/shelf/shelftest"
)

// opened has a thread in a namespace have files of the shelf open until the test ends,
// which the whole process has then, too. It returns the thread, which is to be found as
// a sandbox, and what is open.
func opened(t *testing.T, ns shelftest.Namespace, files ...string) (thread int, open map[int]string) {
	t.Helper()
	open = map[int]string{}
	ready, end, ended := make(chan error), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		_ = ns.Do(t, func() error {
			thread = unix.Gettid()
			for _, name := range files {
				fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
				if err != nil {
					ready <- &os.PathError{Op: "open", Path: name, Err: err}
					return err
				}
				defer unix.Close(fd)
				open[fd] = name
			}
			ready <- nil
			<-end
			return nil
		})
	}()
	err := <-ready
	t.Cleanup(func() { close(end); <-ended })
	check(t, err)
	return thread, open
}

// found is the sandbox of a thread, pinned.
func found(t *testing.T, thread int) *shelf.Sandbox {
	t.Helper()
	s, err := shelf.Find([]int{thread})
	check(t, err)
	if s == nil {
		t.Fatal("nothing has a shelf")
	}
	check(t, s.Pin())
	t.Cleanup(s.Unpin)
	return s
}

// What is open and covered is held, and so is the folder in which its owner replaces a
// file, which shows as read-only; what is open by way of where it shows so is not.
func TestHeld(t *testing.T) {
	h := newHost(t, "own/secret", "etc/config", "etc/more/file", "bin/program", "bin/other", "top", "free/file")
	g := h.hidden("own")
	g.Things = append(g.Things,
		shelf.Thing{What: "the configuration file", Path: h.at("etc/config"), Hidden: true, Replaced: true},
		shelf.Thing{What: "the program", Path: h.at("bin/program"), Replaced: true},
		shelf.Thing{What: "the other program", Path: h.at("top"), Replaced: true},
		shelf.Thing{What: "the lost directory", Path: h.at("free/lost"), Hidden: true},
	)
	ns := shelftest.New(t)
	ns.Put(t, "c.1", shelf.Guard{}, shelftest.Tree(t, h.dir, false), shelftest.Tree(t, h.dir, true))
	thread, open := opened(t, ns, "/c.1/0", "/c.1/0/own", "/c.1/0/own/secret", "/c.1/0/etc", "/c.1/0/etc/config", "/c.1/0/etc/more",
		"/c.1/0/bin", "/c.1/0/bin/program", "/c.1/0/bin/other", "/c.1/0/top", "/c.1/0/free", "/c.1/0/free/file",
		"/c.1/1", "/c.1/1/own", "/c.1/1/etc", "/c.1/1/etc/config", "/c.1/1/bin", "/c.1/1/bin/program")
	look, err := g.Look()
	check(t, err)
	s := found(t, thread)
	if things, _, err := s.Shows(look); err != nil || !slices.Equal(things, g.Things) {
		t.Errorf("it shows %+v, %v", things, err)
	}
	programs := look.Of(func(thing shelf.Thing) bool { return thing.What == "the program" })
	if err := s.Covered(programs); err == nil {
		t.Error("the program is covered before it is")
	}
	cover(t, ns, g)
	check(t, s.Covered(look))
	held, err := s.Held(look)
	check(t, err)
	got := map[string]bool{}
	for _, h := range held {
		if h.Folder != slices.Contains([]string{"/c.1/0/etc", "/c.1/0/bin", "/c.1/0/free"}, open[h.Descriptor]) {
			t.Errorf("%s: %+v", open[h.Descriptor], h)
		}
		if name := open[h.Descriptor]; name != "" { // not the test's own
			got[name] = h.Folder
		}
		if !h.Folder {
			continue
		}
		instead, dir, _, err := s.Instead(h)
		check(t, err)
		for what, err := range map[string]error{
			"making a file":   unix.Mknodat(int(instead.Fd()), path.Join(dir, "new"), unix.S_IFREG|0o600, 0),
			"changing a file": unix.Unlinkat(int(instead.Fd()), path.Join(dir, "other"), 0),
		} {
			if !errors.Is(err, unix.EROFS) {
				t.Errorf("%s: %s: %v", open[h.Descriptor], what, err)
			}
		}
		instead.Close()
	}
	want := []string{"/c.1/0/bin", "/c.1/0/bin/program", "/c.1/0/etc", "/c.1/0/etc/config", "/c.1/0/free", "/c.1/0/own", "/c.1/0/own/secret", "/c.1/0/top", "/c.1/1/etc/config", "/c.1/1/own"}
	for name := range got {
		if !slices.Contains(want, name) {
			t.Errorf("%s is held", name)
		}
	}
	for _, name := range want {
		if _, ok := got[name]; !ok {
			t.Errorf("%s is not held", name)
		}
	}
	// What shows by now is not.
	thread, open = opened(t, ns, "/c.1/0/own", "/c.1/0/etc", "/c.1/0/etc/config", "/c.1/0/bin", "/c.1/0/bin/program", "/c.1/0/top", "/c.1/0/free")
	held, err = found(t, thread).Held(look)
	check(t, err)
	for _, h := range held {
		if name := open[h.Descriptor]; name != "" {
			t.Errorf("%s is held when it was opened as it shows", name)
		}
	}
}
