package actuator

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"sandboxer/actuator/gvisor"
	"sandboxer/observed"
	"sandboxer/reconcile/plan"
)

// userLog is what one of the containers declares.
func userLog(d *plan.Declared) string {
	for i := range d.Spec.Containers {
		if path := d.Spec.Containers[i].UserLog; path != "" {
			return path
		}
	}
	return ""
}

// openUserLog opens it, as a descriptor that can't be written by; nil: there is
// none. What is missing on the way there is made.
func (a *Actuator) openUserLog(d *plan.Declared) (*os.File, error) {
	path := userLog(d)
	if path == "" {
		return nil, nil
	}
	paths := a.paths()
	folder, err := paths.Make(filepath.Dir(path), 0o755)
	if err != nil {
		return nil, err
	}
	folder.Close()
	f, err := paths.MakeFile(path, 0o644)
	if err != nil {
		return nil, err
	}
	if err := f.IsRegular(); err != nil {
		f.Close()
		return nil, err
	}
	return f.File, nil
}

func userLogObject(path string, f *os.File) (*observed.Object, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return &observed.Object{What: "the userLog", Path: path, Device: st.Dev, Inode: st.Ino}, nil
}

// UserLogMoved says whether the userLog's path leads elsewhere by now, or
// nowhere. Of what can't be looked at nothing is said.
func (a *Actuator) UserLogMoved(rec observed.Record) bool {
	return rec.UserLog != nil && len(replacedObject(a.wherever(), *rec.UserLog)) > 0
}

// reopenUserLog has the sentry write to what the path leads to now.
func (a *Actuator) reopenUserLog(ctx context.Context, w work, d *plan.Declared) error {
	sentry, err := w.sentry()
	if err != nil {
		return err
	}
	log, err := a.openUserLog(d)
	if err != nil {
		return err
	}
	var is *observed.Object
	if log != nil {
		defer log.Close()
		if is, err = userLogObject(userLog(d), log); err != nil {
			return err
		}
		to, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", log.Fd()), os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			return err
		}
		defer to.Close()
		err = sentry.LogTo(ctx, to)
		if errors.Is(err, gvisor.ErrNotThere) {
			is, err = nil, nil // it goes on as it is
		}
		if err != nil {
			return err
		}
	}
	w.rec.UserLog = is
	return a.c.Records.Save(*w.rec)
}
