package written

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"sandboxer/internal/hostpath"
	"sandboxer/internal/mountinfo"
	"sandboxer/internal/shelf"
)

// Writers are sandboxes that can write to places, or could.
type Writers []Writer

// Of returns one that can have written what is at a place and was last changed at
// some time; nil where there is none. What ended before that is not among them:
// somebody else has changed it since. Where nobody can tell what an overlay is made of,
// what was changed since a sandbox began may be its work.
func (all Writers) Of(where shelf.Way, changed time.Time) *Writer {
	if w := all.find(changed, where.Under); w != nil {
		return w
	}
	for _, w := range all {
		if !changed.Before(w.Since) && (w.Until.IsZero() || !changed.After(w.Until)) && slices.ContainsFunc(w.Places, where.Maybe) {
			w.unsure = true
			return &w
		}
	}
	return nil
}

// elseOf returns one that can have written a file under another name than those
// in its folder; nil where there is none. What is searched for a name while
// containers move things about would not be found for sure: whoever can write on
// the same file system counts.
func (all Writers) elseOf(f *os.File, folder string) (*Writer, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, &os.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Nlink < 2 || len(all) == 0 {
		return nil, nil
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	elsewhere := st.Nlink
	for _, e := range entries {
		var other unix.Stat_t
		if e.Type().IsRegular() && unix.Lstat(filepath.Join(folder, e.Name()), &other) == nil && other.Dev == st.Dev && other.Ino == st.Ino {
			elsewhere--
		}
	}
	if elsewhere == 0 {
		return nil, nil
	}
	where, err := around(f)
	if err != nil {
		return nil, err
	}
	return all.find(time.Unix(st.Ctim.Unix()), func(p shelf.Place) bool {
		return !p.Own && slices.ContainsFunc(where.Places, p.SameDisk)
	}), nil
}

// around is where an open file is by the mounts of now.
func around(f *os.File) (shelf.Way, error) {
	mounts, err := mountinfo.Read()
	if err != nil {
		return shelf.Way{}, err
	}
	return shelf.Around(f, mounts, nil)
}

func (all Writers) find(changed time.Time, is func(shelf.Place) bool) *Writer {
	for i, w := range all {
		if !w.Until.IsZero() && changed.After(w.Until) {
			continue
		}
		for _, p := range w.Places {
			if is(p) {
				return &all[i]
			}
		}
	}
	return nil
}

// Refusal is why an open file or folder is not obeyed that was found in a folder; nil where
// no container can have written it.
func (all Writers) Refusal(f *os.File, real string) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return &os.PathError{Op: "stat", Path: real, Err: err}
	}
	where, err := around(f)
	if err != nil {
		return err
	}
	if w := all.Of(where, time.Unix(st.Ctim.Unix())); w != nil {
		return fmt.Errorf("%s is refused: it is in a volume that %s, and no container may write what is obeyed: %s", real, w.Could(), w.advice())
	}
	return all.RefusalElse(f, real)
}

// RefusalElse is Refusal where no container can write the file under that name.
func (all Writers) RefusalElse(f *os.File, real string) error {
	w, err := all.elseOf(f, filepath.Dir(real))
	if err == nil && w != nil {
		err = fmt.Errorf("%s is refused: it has other names (hard links), and one may be where %s, but no container may write what is obeyed: give it a copy of its own", real, w.Could())
	}
	return err
}

// RefusalLink is why a link is not followed that is in a folder, which is open, and was
// made or renamed at some time; nil where no container can have made it.
func (all Writers) RefusalLink(folder *os.File, where shelf.Way, changed time.Time) error {
	if w := all.Of(where, changed); w != nil {
		return fmt.Errorf("%w: the folder %s is in a volume that %s, which could have made it", hostpath.ErrLink, folder.Name(), w.Could())
	}
	return nil
}

// Follow is a Resolver's Link for links that no container can have made.
func (all Writers) Follow(folder *os.File, changed time.Time) error {
	where, err := around(folder)
	if err != nil {
		return err
	}
	return all.RefusalLink(folder, where, changed)
}

// Planted is why something open, found in what is a daemon's own, is not obeyed; nil where no
// container can have changed it: it was changed last before one could, since it is
// kept from all, or after the last one's end.
func (all Writers) Planted(f *os.File, real string, kept []shelf.Kept) error {
	if len(all) == 0 {
		return nil
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return &os.PathError{Op: "stat", Path: real, Err: err}
	}
	where, err := around(f)
	if err != nil {
		return err
	}
	changed := time.Unix(st.Ctim.Unix())
	kept = slices.DeleteFunc(slices.Clone(kept), func(k shelf.Kept) bool { return !where.Of(k.Place) })
	for _, w := range all {
		if changed.Before(w.Since) || !w.Until.IsZero() && changed.After(w.Until) {
			continue
		}
		for _, p := range w.Places {
			under := where.Under(p)
			if w.unsure = !under && where.Maybe(p); !under && !w.unsure {
				continue
			}
			// What is around a volume is kept from who has more than the volume.
			advice, since := w.advice(), false
			for _, k := range kept {
				if w.unsure || k.Place.In([]shelf.Place{p}) {
					advice, since = plantedAdvice, since || changed.After(k.Since)
				}
			}
			if since {
				continue
			}
			return fmt.Errorf("%s is refused: it was changed last at %s, when it was in a volume that %s, and no container may write what is obeyed: %s",
				real, changed.Format(time.RFC3339), w.Could(), advice)
		}
	}
	return nil
}

// plantedAdvice is for what no container can change any more.
const plantedAdvice = "look at what it says, and touch it, or put a copy in its place, if it is what it should be"

// Changed returns one that can have changed what is open last, or put it there; nil where
// there is none.
func (all Writers) Changed(f *os.File) (*Writer, error) {
	if len(all) == 0 {
		return nil, nil
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, &os.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	where, err := around(f)
	if err != nil {
		return nil, err
	}
	return all.Of(where, time.Unix(st.Ctim.Unix())), nil
}

// Can says whether what is in an open folder may be some container's work, whenever it was
// changed.
func (all Writers) Can(folder *os.File) (bool, error) {
	if len(all) == 0 {
		return false, nil
	}
	where, err := around(folder)
	return err == nil && (all.find(time.Time{}, where.Under) != nil || slices.ContainsFunc(all, func(w Writer) bool {
		return slices.ContainsFunc(w.Places, where.Maybe)
	})), err
}

// advice is what an administrator may do.
func (w Writer) advice() string {
	if w.Until.IsZero() {
		return "mount that readOnly, or keep the file elsewhere"
	}
	return "it was not changed since; copy it anew, or touch it, if it is what it should be"
}
