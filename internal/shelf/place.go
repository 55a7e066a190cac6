package shelf

import (
	"encoding/json"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sandboxer/internal/mountinfo"
	"sandboxer/internal/sealed"
)

// within says whether path is dir or below it; both are clean.
func within(dir, path string) bool {
	return path == dir || dir == "/" || strings.HasPrefix(path, dir+"/")
}

// below is path as seen from dir, which holds it; "" for dir itself.
func below(dir, path string) string {
	return strings.TrimPrefix(strings.TrimPrefix(path, dir), "/")
}

// Place is where something is, whatever path leads to it: one file system may be
// mounted in many places, and a name may be another one's tomorrow.
type Place struct {
	// Device is its file system's, major:minor as mountinfo has it, and At its
	// path in that.
	Device, At string
	// Dev and Inode are what stat says.
	Dev, Inode uint64
	// Handle is by what its file system knows the object, wherever it is renamed to;
	// no later object has it. Empty: it gives none.
	Handle string `json:",omitempty"`
	// UUID is the file system's, which has another device number once it is mounted
	// by way of another device. Empty: it has none.
	UUID string `json:",omitempty"`
	// Anywhere: it is what an overlay is made of, which can't be told.
	Anywhere bool `json:",omitempty"`
	// Own: a daemon has made it, empty, inside of what is its own. What is in it has
	// no names elsewhere, and no overlay is made of it, but by root's hand; and it is
	// gone once no mount shows it.
	Own bool `json:",omitempty"`
}

// OwnPlaces are those at which a daemon's own volume is.
func OwnPlaces(f *os.File, mounts []mountinfo.Mount, answers Answers) ([]Place, error) {
	places, err := Places(f, mounts, answers)
	places = slices.DeleteFunc(places, func(p Place) bool { return p.Anywhere })
	for i := range places {
		places[i].Own = true
	}
	return places, err
}

// raw is it with names of any bytes.
func (p *Place) raw() any {
	type plain Place
	return &struct {
		*plain
		At *sealed.Text
	}{(*plain)(p), (*sealed.Text)(&p.At)}
}

// MarshalJSON implements json.Marshaler.
func (p Place) MarshalJSON() ([]byte, error) { return json.Marshal(p.raw()) }

// UnmarshalJSON implements json.Unmarshaler.
func (p *Place) UnmarshalJSON(b []byte) error { return json.Unmarshal(b, p.raw()) }

// Kept is what no container can change, since some time; zero: since anybody knows.
type Kept struct {
	Place Place     `json:"place"`
	Since time.Time `json:"since,omitzero"`
}

// Locate says where the object of a descriptor is, by the mounts of this process's
// namespace, which were read after it was opened.
func Locate(f *os.File, mounts []mountinfo.Mount) (Place, error) {
	var st unix.Statx_t
	if err := unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, unix.STATX_BASIC_STATS|unix.STATX_MNT_ID, &st); err != nil {
		return Place{}, &os.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	real, err := os.Readlink("/proc/thread-self/fd/" + strconv.Itoa(int(f.Fd())))
	if err != nil {
		return Place{}, err
	}
	for _, m := range mounts {
		if uint64(m.ID) == st.Mnt_id && within(m.Point, real) {
			p := Place{
				Device: m.Device, At: path.Join(m.Root, below(m.Point, real)),
				Dev: unix.Mkdev(st.Dev_major, st.Dev_minor), Inode: st.Ino,
			}
			if h, _, err := unix.NameToHandleAt(int(f.Fd()), "", unix.AT_EMPTY_PATH); err == nil {
				p.Handle = fmt.Sprintf("%d:%x", h.Type(), h.Bytes())
			}
			if hasUUID(m) {
				p.UUID = uuid(f, st.Mode, real)
			}
			return p, nil
		}
	}
	return Place{}, fmt.Errorf("%s: its mount is not one of this process's", f.Name())
}

// Places are those of an object and of all that is mounted below it, and where they
// are on an overlay those to which it writes; the mounts are as for Locate.
func Places(f *os.File, mounts []mountinfo.Mount, answers Answers) ([]Place, error) {
	where, err := Locate(f, mounts)
	if err != nil {
		return nil, err
	}
	places := []Place{where}
	real, err := os.Readlink("/proc/thread-self/fd/" + strconv.Itoa(int(f.Fd())))
	if err != nil {
		return nil, err
	}
	for _, m := range mounts {
		if m.Point != real && within(real, m.Point) {
			p := Place{Device: m.Device, At: m.Root}
			if hasUUID(m) || m.Kind == "tmpfs" { // which answer at once
				if shown := p.shown(mounts); shown != nil {
					p = *shown
				}
			}
			places = append(places, p)
		}
	}
	for _, p := range places[:len(places):len(places)] {
		layers, all, err := p.beneath(mounts, answers, true)
		if err != nil {
			return nil, err
		}
		if places = append(places, layers...); !all {
			places = append(places, Place{Device: p.Device, At: "/", Anywhere: true})
		}
	}
	return places, nil
}

// Paths are where a place shows, if other mounts don't lie over it.
func (p Place) Paths(mounts []mountinfo.Mount) (paths []string) {
	for _, m := range mounts {
		if m.Device == p.Device && within(m.Root, p.At) {
			paths = append(paths, path.Join(m.Point, below(m.Root, p.At)))
		}
	}
	return paths
}

// In says whether a place is one of others, or inside one.
func (p Place) In(others []Place) bool {
	return slices.ContainsFunc(others, func(o Place) bool { return !o.Anywhere && p.SameDisk(o) && within(o.At, p.At) })
}

// SameDisk says whether two places are of one file system.
func (p Place) SameDisk(o Place) bool {
	return p.Device == o.Device || p.UUID != "" && p.UUID == o.UUID
}

// Is says whether two places are of one object, whatever it was called.
func (p Place) Is(o Place) bool {
	if p.Handle != "" && o.Handle != "" {
		return p.Handle == o.Handle && p.SameDisk(o)
	}
	return p.Inode != 0 && p.Inode == o.Inode && p.Dev == o.Dev
}
