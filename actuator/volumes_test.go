package actuator

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/api/resource"

	"sandboxer/desired"
)

func quantity(s string) *resource.Quantity { return new(resource.MustParse(s)) }

// size of a file system in bytes, and whether path is one's root.
func fileSystem(t *testing.T, path string) (size int64, mounted bool) {
	t.Helper()
	var s unix.Statfs_t
	check(t, unix.Statfs(path, &s))
	mounted, err := isMountPoint(path)
	check(t, err)
	return int64(s.Blocks) * s.Bsize, mounted
}

// What is in an emptyDir stays, whatever becomes of its limit but none.
func TestEmptyDir(t *testing.T) {
	r := newRig(t)
	s := sandbox("vol")
	prepare := func(v ...desired.Volume) {
		t.Helper()
		s.Spec.Volumes = v
		check(t, r.prepareVolumes(context.Background(), s))
	}
	limited := func(size string) desired.Volume {
		return desired.Volume{Name: "v", EmptyDir: &desired.EmptyDir{SizeLimit: quantity(size)}}
	}
	dir := filepath.Join(r.volumesDir("vol"), "v")
	prepare(limited("1Mi"))
	check(t, os.WriteFile(filepath.Join(dir, "file"), []byte("kept"), 0o600))
	for _, size := range []string{"1Mi", "2Mi", "512Ki"} {
		prepare(limited(size))
		if got, mounted := fileSystem(t, dir); !mounted || got != quantity(size).Value() {
			t.Errorf("size %d, mounted %v, want %s", got, mounted, size)
		}
		if b, err := os.ReadFile(filepath.Join(dir, "file")); err != nil || string(b) != "kept" {
			t.Errorf("after the change to %s: %q, %v", size, b, err)
		}
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o777 {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}
	}
	prepare(desired.Volume{Name: "v", EmptyDir: &desired.EmptyDir{}})
	if _, mounted := fileSystem(t, dir); mounted {
		t.Error("still mounted without a limit")
	}
	check(t, os.WriteFile(filepath.Join(dir, "file"), []byte("kept"), 0o600))
	prepare(desired.Volume{Name: "v", EmptyDir: &desired.EmptyDir{}})
	if _, err := os.Stat(filepath.Join(dir, "file")); err != nil {
		t.Error(err)
	}
	// One that became something else, or is declared no more, gives its memory
	// back, mounted or not.
	prepare(limited("1Mi"))
	prepare(desired.Volume{Name: "v", Files: map[string]string{"a": "1"}})
	if _, mounted := fileSystem(t, dir); mounted {
		t.Error("the files are in the emptyDir")
	}
	prepare(limited("1Mi"))
	prepare()
	if _, err := os.Lstat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a volume that is not declared is there: %v", err)
	}
	prepare(limited("1Mi"))
	check(t, r.removeVolumes("vol"))
	check(t, r.removeVolumes("vol"))
	if _, err := os.Lstat(r.volumesDir("vol")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("volumes are left: %v", err)
	}
}

// An emptyDir in memory holds no more files than its size is for, also one of an earlier
// version, but for those that are there.
func TestEmptyDirFiles(t *testing.T) {
	r := newRig(t)
	s := sandbox("vol")
	dir := filepath.Join(r.volumesDir("vol"), "v")
	t.Cleanup(func() { check(t, r.removeVolumes("vol")) })
	for _, c := range []struct {
		size    string
		options string // of an earlier version
		made    int
		want    uint64
	}{
		{"1Mi", "", 0, 1024}, {"64Mi", "", 0, uint64(64<<20) / uint64(os.Getpagesize())}, {"64Gi", "", 0, 1 << 20},
		{"1Mi", "mode=0777,size=1048576,nr_inodes=10000", 0, 1024}, {"1Mi", "mode=0777,size=1048576,nr_inodes=10000", 2000, 2001},
	} {
		check(t, r.removeVolumes("vol"))
		if c.options != "" {
			check(t, os.MkdirAll(dir, 0o700))
			check(t, unix.Mount("sandboxer", dir, "tmpfs", 0, c.options))
		}
		for i := range c.made {
			check(t, os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), nil, 0o600))
		}
		s.Spec.Volumes = []desired.Volume{{Name: "v", EmptyDir: &desired.EmptyDir{SizeLimit: quantity(c.size)}}}
		check(t, r.prepareVolumes(t.Context(), s))
		var st unix.Statfs_t
		check(t, unix.Statfs(dir, &st))
		if st.Files != c.want {
			t.Errorf("%+v: %d files", c, st.Files)
		}
	}
}

// A limit below what is there is refused in words that help, and changes nothing.
func TestEmptyDirLimitTooLow(t *testing.T) {
	r := newRig(t)
	s := sandbox("vol")
	s.Spec.Volumes = []desired.Volume{{Name: "scratch", EmptyDir: &desired.EmptyDir{SizeLimit: quantity("4Mi")}}}
	check(t, r.prepareVolumes(context.Background(), s))
	t.Cleanup(func() { check(t, r.removeVolumes("vol")) })
	dir := filepath.Join(r.volumesDir("vol"), "scratch")
	check(t, os.WriteFile(filepath.Join(dir, "file"), make([]byte, 3<<20), 0o600))
	s.Spec.Volumes[0].EmptyDir.SizeLimit = quantity("1Mi")
	err := r.prepareVolumes(context.Background(), s)
	if !errors.Is(err, unix.EINVAL) {
		t.Fatalf("%v, want EINVAL", err)
	}
	for _, part := range []string{`volume "scratch"`, dir, "take 3Mi", "sizeLimit 1Mi", "delete files"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
	if size, _ := fileSystem(t, dir); size != 4<<20 {
		t.Errorf("the limit is now %d", size)
	}
}

// Files volumes are made anew, without what was there before.
func TestFilesVolume(t *testing.T) {
	r := newRig(t)
	s := sandbox("vol")
	dir := filepath.Join(r.volumesDir("vol"), "v")
	for _, files := range []map[string]string{{"a": "1", "b": "2"}, {"b": "3"}} {
		s.Spec.Volumes = []desired.Volume{{Name: "v", Files: files}}
		check(t, r.prepareVolumes(context.Background(), s))
		entries, err := os.ReadDir(dir)
		check(t, err)
		if len(entries) != len(files) {
			t.Errorf("%v, want %v", entries, files)
		}
		for name, content := range files {
			b, err := os.ReadFile(filepath.Join(dir, name))
			info, _ := os.Stat(filepath.Join(dir, name))
			if err != nil || string(b) != content || info.Mode().Perm() != 0o644 {
				t.Errorf("%s: %q %v %v", name, b, info.Mode(), err)
			}
		}
	}
	if m, err := r.volumeMounts(anyLink, s, &desired.Container{VolumeMounts: []desired.VolumeMount{{Name: "v", MountPath: "/v"}}}); err != nil ||
		!m[0].served.ReadOnly || m[0].mount.Options[1] != "ro" {
		t.Errorf("files are mounted as %+v, %v", m, err)
	} else {
		m[0].served.tree.File.Close()
	}
}

func TestHostPathTypes(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	check(t, os.WriteFile(at("file"), []byte("kept"), 0o600))
	check(t, os.Mkdir(at("dir"), 0o700))
	check(t, unix.Mkfifo(at("pipe"), 0o600)) // nobody writes: opening it would wait
	for _, c := range []struct{ path, kind, want string }{
		{"dir", "", ""}, {"file", "", ""}, {"none", "", "no such file"},
		{"dir", "Directory", ""}, {"file", "Directory", "not a directory"}, {"none", "Directory", "no such file"},
		{"dir", "DirectoryOrCreate", ""}, {"new/sub", "DirectoryOrCreate", ""}, {"file", "DirectoryOrCreate", "not a directory"},
		{"file", "File", ""}, {"dir", "File", "not a regular file"}, {"none", "File", "no such file"}, {"pipe", "File", "not a regular file"},
		{"file", "FileOrCreate", ""}, {"newfile", "FileOrCreate", ""}, {"dir", "FileOrCreate", "not a regular file"},
		{"pipe", "FileOrCreate", "not a regular file"}, {"no/such", "FileOrCreate", "no such file"},
	} {
		f, err := openHostPath(anyLink, &desired.HostPath{Path: at(c.path), Type: c.kind})
		if err == nil {
			f.Close()
		}
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s as %q: %v, want %q", c.path, c.kind, err, c.want)
		}
	}
	if b, err := os.ReadFile(at("file")); err != nil || string(b) != "kept" {
		t.Errorf("a file that was there: %q, %v", b, err)
	}
	if info, err := os.Stat(at("newfile")); err != nil || info.Size() != 0 {
		t.Errorf("%v, %v", info, err)
	}
}

// The host's own files come with its network, but not over what a container
// mounts itself.
func TestHostNetworkFiles(t *testing.T) {
	r := newRig(t)
	host := t.TempDir()
	s := sandbox("net")
	s.Spec.Network.Mode = desired.NetworkHost
	s.Spec.Volumes = []desired.Volume{{Name: "v", HostPath: &desired.HostPath{Path: host}}}
	writable, readOnly := &specs.Root{Path: t.TempDir()}, &specs.Root{Path: t.TempDir(), Readonly: true}
	check(t, os.Mkdir(filepath.Join(readOnly.Path, "etc"), 0o755))
	check(t, os.WriteFile(filepath.Join(readOnly.Path, "etc/hosts"), nil, 0o644))
	for _, c := range []struct {
		root *specs.Root
		at   string
		want string
	}{
		{writable, "", "/etc/resolv.conf /etc/hosts"},
		{readOnly, "", "/etc/hosts"},
		{writable, "/etc/hosts", "/etc/hosts /etc/resolv.conf"},
		{writable, "/etc", "/etc"},
		{writable, "/etcetera", "/etcetera /etc/resolv.conf /etc/hosts"},
	} {
		container := desired.Container{}
		if c.at != "" {
			container.VolumeMounts = []desired.VolumeMount{{Name: "v", MountPath: c.at}}
		}
		root, err := os.Open(c.root.Path)
		check(t, err)
		defer root.Close()
		mounts, err := r.volumeMounts(anyLink, s, &container)
		check(t, err)
		files, err := r.networkMounts(anyLink, s, &container, &specs.Spec{Root: c.root}, root)
		check(t, err)
		mounts = append(mounts, files...)
		var at []string
		for _, m := range mounts {
			at = append(at, m.mount.Destination)
			m.served.tree.File.Close()
		}
		if got := strings.Join(at, " "); got != c.want {
			t.Errorf("a volume at %q: mounts %s, want %s", c.at, got, c.want)
		}
	}
}
