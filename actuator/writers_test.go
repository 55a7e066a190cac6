package actuator

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sandboxer/desired"
	"sandboxer/internal/answers"
	"sandboxer/internal/hostpath"
	"sandboxer/internal/mountinfo"
	"sandboxer/internal/shelf"
	"sandboxer/internal/written"
)

// writing is an Actuator that knows of so many sandboxes, each of which writes to
// a folder of its own, and of which all run but the first.
func writing(t testing.TB, sandboxes int) (*Actuator, string) {
	dir := t.TempDir()
	var all []*desired.Sandbox
	log := written.New(filepath.Join(dir, "written"), dir, func(string) error { return nil })
	mounts, err := mountinfo.Read()
	if err != nil {
		t.Fatal(err)
	}
	for i := range sandboxes {
		path := filepath.Join(dir, "volumes", fmt.Sprint(i))
		if err := os.MkdirAll(path, 0o755); err != nil {
			t.Fatal(err)
		}
		d := writer(fmt.Sprint(i), path)
		all = append(all, d)
		f, err := os.OpenFile(path, unix.O_PATH, 0)
		if err != nil {
			t.Fatal(err)
		}
		places, err := shelf.Places(f, mounts, nil)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			if err := log.Begin(d.Name, places); err != nil {
				t.Fatal(err)
			}
		}
	}
	a := &Actuator{granted: map[*desired.Sandbox]granted{}, c: Config{Written: log, Answers: answers.New("", nil), Declared: func() []*desired.Sandbox { return all }}}
	t.Cleanup(a.mounts.Close)
	return a, dir
}

// writer is a sandbox that writes to a path.
func writer(name, path string) *desired.Sandbox {
	return &desired.Sandbox{Name: name, Spec: desired.Spec{
		Volumes:    []desired.Volume{{Name: "v", HostPath: &desired.HostPath{Path: path}}},
		Containers: []desired.Container{{Name: "app", VolumeMounts: []desired.VolumeMount{{Name: "v", MountPath: "/v"}}}},
	}}
}

// Where others can write is looked for anew when a sandbox is declared anew, or its
// time is over, and forgotten with it.
func TestWritersOfDeclared(t *testing.T) {
	a, dir := writing(t, 3)
	folder, err := os.OpenFile(filepath.Join(dir, "volumes", "0"), unix.O_PATH, 0)
	check(t, err)
	defer folder.Close()
	could := func(want string) {
		t.Helper()
		all, err := a.writers()
		check(t, err)
		mounts, err := mountinfo.Read()
		check(t, err)
		where, err := shelf.Around(folder, mounts, a.c.Answers.Check)
		check(t, err)
		got := ""
		if w := all.Of(where, time.Now()); w != nil {
			got = w.Sandbox
		}
		if got != want {
			t.Errorf("%q can write there, want %q", got, want)
		}
	}
	could("0")
	// It leads elsewhere, and once more to the folder.
	elsewhere := a.c.Declared()
	elsewhere[0] = writer("moved", filepath.Join(dir, "link"))
	check(t, os.Symlink("written", filepath.Join(dir, "link")))
	could("")
	check(t, os.Remove(filepath.Join(dir, "link")))
	check(t, os.Symlink("volumes/0", filepath.Join(dir, "link")))
	for d, g := range a.granted {
		g.looked = g.looked.Add(-grantsTime)
		a.granted[d] = g
	}
	could("moved")
	if len(a.granted) != len(elsewhere) {
		t.Errorf("%d are known of %d", len(a.granted), len(elsewhere))
	}
}

// What a container leaves in an emptyDir, whatever that is on, is neither followed nor
// obeyed, nor while the sandbox runs that an earlier version has made; that it can write
// there makes nothing of other files with several names.
func TestEmptyDirsAreWritten(t *testing.T) {
	r := newRig(t)
	d := sandbox("w", desired.Container{Name: "app"})
	limited := desired.Limits{EphemeralStorage: quantity("4Mi")}
	onDisk := sandbox("disk", desired.Container{Name: "app", Resources: desired.Resources{Limits: limited}})
	d.Spec.Volumes = []desired.Volume{{Name: "plain", EmptyDir: &desired.EmptyDir{}}, {Name: "limited", EmptyDir: &desired.EmptyDir{SizeLimit: quantity("1Mi")}}}
	onDisk.Spec.Volumes = []desired.Volume{{Name: "plain", EmptyDir: &desired.EmptyDir{}}}
	other := filepath.Join(r.t.TempDir(), "other")
	check(t, os.MkdirAll(filepath.Join(other, "twin"), 0o755))
	check(t, os.WriteFile(filepath.Join(other, "prog"), nil, 0o755))
	check(t, os.Link(filepath.Join(other, "prog"), filepath.Join(other, "twin", "prog")))
	var dirs []string
	var places []func() error
	for _, s := range []*desired.Sandbox{d, onDisk} {
		check(t, r.prepareVolumes(t.Context(), s))
		t.Cleanup(func() { check(t, r.removeVolumes(s.Name)) })
		for i := range s.Spec.Volumes {
			v := &s.Spec.Volumes[i]
			dir := filepath.Join(r.volumesDir(s.Name), v.Name)
			check(t, os.Chmod(dir, 0o755)) // a container may
			check(t, os.WriteFile(filepath.Join(dir, "prog"), []byte("#!/bin/sh\n"), 0o755))
			check(t, os.Symlink("/etc/hostname", filepath.Join(dir, "link")))
			dirs = append(dirs, dir)
			places = append(places, func() error {
				m, err := r.serveVolume(r.paths(), s, v, false)
				if err != nil {
					return err
				}
				defer m.tree.File.Close()
				grants, err := r.grantsOf([]served{m})
				if err != nil {
					return err
				}
				return r.c.Written.Begin(s.Name, grants)
			})
		}
	}
	dirs = append(dirs, filepath.Join(r.volumesDir("disk"), diskMount, "volumes", "plain"))
	refused := func(when, could string) {
		t.Helper()
		for _, dir := range dirs {
			if err := r.outOfReach(filepath.Join(dir, "prog")); err == nil || !strings.Contains(err.Error(), could) {
				t.Errorf("%s: the program in %s: %v", when, dir, err)
			}
			if f, err := r.paths().Open(filepath.Join(dir, "link")); !errors.Is(err, hostpath.ErrLink) || !strings.Contains(err.Error(), could) {
				f.Close()
				t.Errorf("%s: the link in %s: %v", when, dir, err)
			}
		}
		check(t, r.outOfReach(filepath.Join(other, "prog")))
	}
	for _, grant := range places {
		check(t, grant())
	}
	refused("while it runs", "can write")
	for _, s := range []string{"w", "disk"} {
		check(t, r.c.Written.End(s))
	}
	refused("when it has ended", "could write until")

	// Of an earlier version's nothing is known.
	check(t, os.RemoveAll(filepath.Join(r.data, "written")))
	for _, s := range []string{"w", "disk"} {
		check(t, r.grantVolumes(s))
	}
	refused("of an earlier version", "can write")
}

// Each link of each sandbox that starts asks who can write where it is.
func BenchmarkLink(b *testing.B) {
	for _, sandboxes := range []int{50, 300} {
		b.Run(fmt.Sprint(sandboxes), func(b *testing.B) {
			a, dir := writing(b, sandboxes)
			link := filepath.Join(dir, "link")
			if err := os.Symlink("volumes", link); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				f, err := a.paths().Open(link)
				if err != nil {
					b.Fatal(err)
				}
				f.Close()
			}
		})
	}
}

// A manifest is judged as the object that was looked at, also by who may be shown another
// one.
func TestManifestsReachIsOfOneObject(t *testing.T) {
	a, dir := writing(t, 2)
	one, other := filepath.Join(dir, "volumes", "1", "one.yaml"), filepath.Join(dir, "volumes", "1", "other.yaml")
	for began := time.Now(); ; { // the kernel's clock for files has ticks
		check(t, os.WriteFile(other, nil, 0o644))
		check(t, os.WriteFile(one, []byte("x"), 0o644))
		var st unix.Stat_t
		check(t, unix.Stat(other, &st))
		if time.Unix(st.Ctim.Unix()).After(began) {
			break
		}
	}
	for _, c := range []struct{ looked, want string }{{one, "is refused: "}, {other, "something else was put in its place"}} {
		info, err := os.Lstat(c.looked)
		check(t, err)
		if err := a.ManifestsReach(nil)(one, info, false); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("looked at %s: %v", c.looked, err)
		}
	}
}
