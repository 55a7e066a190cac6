package desired

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
)

func TestDirectoryRefusesUnsafeFiles(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		r.put("m/w.yaml", doc("web", 1))
		r.mkdir("m/s")
		r.put("m/s/db.yaml", doc("db", 1))
		r.mkdir("out")
		r.put("out/l.yaml", doc("l", 1))
		r.link("../out/l.yaml", "m/l.yaml")
		r.start()
		r.await("web@1", "db@1", "l@1")

		r.must(os.Chmod(r.path("m/w.yaml"), 0o666))
		s := r.await("web@1", "db@1", "l@1", "!w.yaml")
		wantMessage(t, s.Problems, "w.yaml", "refused: the file can be written by everybody (mode 0666)")
		r.must(os.Chmod(r.path("m/w.yaml"), 0o644))
		r.await("web@1", "db@1", "l@1")
		r.must(os.Chmod(r.path("m/w.yaml"), 0o664))
		r.await("web@1", "db@1", "l@1", "!w.yaml")
		r.remove("m/w.yaml")
		r.await("db@1", "l@1")

		r.must(os.Chmod(r.path("m/s"), 0o777))
		s = r.await("db@1", "l@1", "!s")
		wantMessage(t, s.Problems, "s", "the folder "+r.path("m/s")+" can be written by everybody (mode 0777)")
		r.must(os.Chmod(r.path("m/s"), 0o755))
		r.await("db@1", "l@1")

		r.must(os.Chmod(r.path("out"), 0o775))
		s = r.await("db@1", "l@1", "!l.yaml")
		wantMessage(t, s.Problems, "l.yaml", fmt.Sprintf("the folder %s can be written by group %d", r.path("out"), os.Getegid()))
		r.must(os.Chmod(r.path("out"), 0o755))
		r.must(os.Chmod(r.path("out/l.yaml"), 0o622))
		r.await("db@1", "l@1", "!l.yaml")

		// Who can rename what is above commands the host, too.
		r.must(os.Chmod(r.path("out/l.yaml"), 0o644))
		r.await("db@1", "l@1")
		r.must(os.Chmod(r.path("."), 0o777))
		s = r.await("db@1", "l@1", "!"+r.path("m"))
		wantMessage(t, s.Problems, r.path("m"), "the folder "+r.path(".")+" can be written by everybody (mode 0777)")
		r.must(os.Chmod(r.path("."), 0o777|os.ModeSticky))
		r.await("db@1", "l@1")
		r.must(os.Chmod(r.path("."), 0o755))
		r.must(os.Chmod(r.path("out/l.yaml"), 0o622))
		r.await("db@1", "l@1", "!l.yaml")

		// Everything below an unsafe manifest directory is refused.
		r.must(os.Chmod(r.path("m"), 0o757))
		r.await("db@1", "l@1", "!"+r.path("m"))
	})
}

func TestDirectoryForeignOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to give a file away")
	}
	r := newRig(t, false)
	r.put("m/w.yaml", doc("web", 1))
	r.must(os.Chmod(r.path("m/w.yaml"), 0o444))
	r.must(os.Chown(r.path("m/w.yaml"), 4711, 4711))
	r.start()
	s := r.await("!w.yaml")
	wantMessage(t, s.Problems, "w.yaml", "refused: the file belongs to user 4711, who can write it")
	r.stop()
	r.cfg.AllowUnsafeOwners = true
	r.start()
	r.await("web@1")
}

// What a container may have written is not obeyed: it is asked about what links
// lead to outside of the manifest directories, and about files that have another
// name.
func TestDirectoryRefusesWhatContainersWrite(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		r.put("m/w.yaml", doc("web", 1))
		r.mkdir("out/sub")
		r.put("out/l.yaml", doc("l", 1))
		r.put("out/sub/s.yaml", doc("s", 1))
		r.mkdir("m/in")
		r.put("m/in/i.yaml", doc("i", 1))
		r.link("../out/l.yaml", "m/l.yaml")
		r.link("../out/sub", "m/sub")
		r.link("in/i.yaml", "m/i.yaml")
		var writes atomic.Bool
		r.cfg.Reach = func() Reach {
			return func(real string, info fs.FileInfo, elsewhere bool) error {
				links := info.Sys().(*syscall.Stat_t).Nlink
				if writes.Load() && (elsewhere || info.Mode().IsRegular() && links > 1) {
					return errors.New("a container wrote it")
				}
				if elsewhere == strings.HasPrefix(real, r.path("m")+"/") {
					t.Errorf("%s is elsewhere: %v", real, elsewhere)
				}
				return nil
			}
		}
		r.start()
		r.await("web@1", "l@1", "s@1", "i@1")
		writes.Store(true)
		r.d.Rescan()
		s := r.await("web@1", "l@1", "s@1", "i@1", "!l.yaml", "!sub")
		wantMessage(t, s.Problems, "l.yaml", "a container wrote it")
		r.must(os.Link(r.path("m/w.yaml"), r.path("other")))
		r.d.Rescan()
		r.await("web@1", "l@1", "s@1", "i@1", "!l.yaml", "!sub", "!w.yaml")
		writes.Store(false)
		r.d.Rescan()
		r.await("web@1", "l@1", "s@1", "i@1")
	})
}

// What is written into a manifest between the look at it and its reading is judged, too.
func TestDirectoryJudgesWhatIsRead(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		r.put("m/w.yaml", doc("web", 1))
		r.put("m/other.yaml", doc("other", 1))
		planted := doc("planted", 1)
		var wrote atomic.Bool
		r.cfg.Reach = func() Reach {
			return func(real string, info fs.FileInfo, _ bool) error {
				switch {
				case filepath.Base(real) != "w.yaml":
				case info.Size() == int64(len(planted)):
					return errors.New("a container wrote it")
				case wrote.CompareAndSwap(false, true):
					r.must(os.WriteFile(real, []byte(planted), 0o644))
				}
				return nil
			}
		}
		r.start()
		s := r.await("other@1", "!w.yaml")
		wantMessage(t, s.Problems, "w.yaml", "a container wrote it")
	})
}
