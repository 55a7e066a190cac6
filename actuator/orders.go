package actuator

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"

	"golang.org/x/sys/unix"

	"sandboxer/desired"
	"sandboxer/internal/hook"
	"sandboxer/internal/hostpath"
	"sandboxer/internal/owner"
	"sandboxer/observed"
)

// ordered refuses a file that others could have written and that the daemon is
// told to obey.
func (a *Actuator) ordered(path string) error {
	if err := a.c.Answers.Check(path); err != nil || a.c.AllowUnsafeOwners {
		return err
	}
	return owner.Check(path)
}

// outOfReach is an error unless obeyed has nothing against a path.
func (a *Actuator) outOfReach(path string) error {
	f, err := a.obeyed(path)
	if err != nil {
		return err
	}
	return f.Close()
}

// obeyed opens what is more than a value. A file with orders must be root's, not be
// in a volume that a container can write, nor be reached through a link that one
// could have made. What goes on is the descriptor: who exchanges the file meanwhile
// is late.
func (a *Actuator) obeyed(path string) (hostpath.File, error) {
	if err := a.ordered(path); err != nil {
		return hostpath.File{}, err
	}
	paths := a.paths()
	paths.Found = a.openedOrder
	if a.c.AllowUnsafeOwners {
		paths.Link = hostpath.AnyLink
	}
	f, err := paths.Open(path)
	if err != nil || a.c.AllowUnsafeOwners {
		return f, err
	}
	all, err := a.writers()
	if err == nil {
		err = all.Refusal(f.File, f.Real)
	}
	if err != nil {
		f.Close()
		return hostpath.File{}, err
	}
	return f, nil
}

// openedOrder is ordered for what is open: it may be another one than was at the
// path before.
func (a *Actuator) openedOrder(f hostpath.File) error {
	if a.c.AllowUnsafeOwners {
		return nil
	}
	if !f.Earlier {
		return owner.CheckOpened(f.File, f.Real)
	}
	info, err := f.Stat()
	if err == nil && owner.Others(info) != "" {
		err = fmt.Errorf("%s is refused: it %s", f.Real, owner.Others(info))
	}
	return err
}

// obeyedAll is obeyed for a directory and for all files in it.
func (a *Actuator) obeyedAll(dir string) (hostpath.File, error) {
	if err := a.answersAll(dir); err != nil {
		return hostpath.File{}, err
	}
	f, err := a.obeyed(dir)
	if err != nil || a.c.AllowUnsafeOwners {
		return f, err
	}
	if err = owner.CheckIn(f.File, f.Real); err == nil {
		err = a.eachOutOfReach(f)
	}
	if err != nil {
		f.Close()
	}
	return f, err
}

// eachOutOfReach is outOfReach for what is in a directory.
func (a *Actuator) eachOutOfReach(dir hostpath.File) error {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/self/fd/%d", dir.Fd()))
	for _, e := range entries {
		err = errors.Join(err, a.outOfReach(filepath.Join(dir.Real, e.Name())))
	}
	return err
}

// program opens the folder of a program that root is to run, and gives its name
// there: nobody but root can put another one in its place. What the kernel opens to
// run it answers.
func (a *Actuator) program(path string) (folder *os.File, name string, err error) {
	f, err := a.obeyed(path)
	if err != nil {
		return nil, "", err
	}
	defer f.Close()
	if err := f.IsRegular(); err != nil {
		return nil, "", err
	}
	if err := a.interpretersAnswer(f.File); err != nil {
		return nil, "", fmt.Errorf("%s: %w", path, err)
	}
	paths := a.paths()
	paths.Found = a.openedOrder
	in, name, err := paths.Parent(f.Real) // which has no links
	if err != nil {
		return nil, "", err
	}
	var was, is unix.Stat_t
	err = errors.Join(unix.Fstat(int(f.Fd()), &was), unix.Fstatat(int(in.Fd()), name, &is, unix.AT_SYMLINK_NOFOLLOW))
	if err == nil && (was.Dev != is.Dev || was.Ino != is.Ino) {
		err = fmt.Errorf("%s is refused: it was exchanged while it was looked at", f.Real)
	}
	if err != nil {
		in.Close()
		return nil, "", err
	}
	return in.File, name, nil
}

// interpretersMost is how many interpreters the kernel follows.
const interpretersMost = 5

// interpretersAnswer is an error where the interpreter that a script names, or that
// one's, is on a file system that does not answer: the kernel would wait for it, and
// so would whoever starts a process meanwhile.
func (a *Actuator) interpretersAnswer(program *os.File) error {
	for range interpretersMost {
		next, err := hook.Interpreter(program)
		if err != nil || !filepath.IsAbs(next) {
			return err
		}
		if err := a.c.Answers.Check(next); err != nil {
			return err
		}
		fd, err := unix.Open(next, unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			return &os.PathError{Op: "open", Path: next, Err: err}
		}
		program = os.NewFile(uintptr(fd), next)
		defer program.Close()
	}
	return nil
}

// answersAll is an error unless a directory and all files in it can be touched.
func (a *Actuator) answersAll(dir string) error {
	if err := a.c.Answers.Check(dir); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		err = errors.Join(err, a.c.Answers.Check(filepath.Join(dir, e.Name())))
	}
	return err
}

// setHooks notes the hooks that an instance is made with. The seal says that
// they were declared: a record tells of what was long after the manifest is gone,
// and who can write a record must not have programs run on the host by that.
func (a *Actuator) setHooks(rec *observed.ContainerRecord, h desired.Hooks) (err error) {
	if rec.Hooks, err = json.Marshal(h); err == nil {
		rec.HooksSeal = a.seal(rec, rec.Hooks)
	}
	return err
}

// seal says that an instance was made with that order, which is like no other
// kind of order.
func (a *Actuator) seal(rec *observed.ContainerRecord, order []byte) string {
	mac := hmac.New(sha256.New, a.hookKey)
	fmt.Fprintf(mac, "%s\x00%s\x00%s\x00%s", rec.Sandbox, rec.Name, rec.ID, order)
	return hex.EncodeToString(mac.Sum(nil))
}

// hooksOf are an instance's hooks; none where its record has none. What is not
// sealed, as an earlier version's record is not, must be what is declared now.
func (a *Actuator) hooksOf(rec observed.ContainerRecord) (h desired.Hooks) {
	if len(rec.Hooks) == 0 {
		return h
	}
	if err := json.Unmarshal(rec.Hooks, &h); err != nil {
		a.c.Log.Error(err, "the hooks in a record can't be read and are not run", "sandbox", rec.Sandbox, "container", rec.Name)
		return desired.Hooks{}
	}
	if hmac.Equal([]byte(rec.HooksSeal), []byte(a.seal(&rec, rec.Hooks))) || reflect.DeepEqual(h, a.declaredHooks(rec)) {
		return h
	}
	a.c.Hooked(HookEnd{Sandbox: rec.Sandbox, Container: rec.Name, Point: "recorded", Path: "of instance " + rec.ID,
		Err: errors.New("it is in the record and in no manifest that was accepted, and is not run")})
	return desired.Hooks{}
}

// declaredHooks are those of the container as it is declared now, its bundle's
// included.
func (a *Actuator) declaredHooks(rec observed.ContainerRecord) (h desired.Hooks) {
	d, c := a.acceptedOf(rec)
	if c == nil {
		return h
	}
	if c.Bundle == "" || !a.c.AllowBundleHooks {
		return c.Hooks
	}
	spec, err := a.readBundle(a.paths(), c, d.Spec.Hostname)
	if err != nil {
		return h
	}
	h, err = withBundle(spec.Hooks, c.Hooks)
	if err != nil {
		return desired.Hooks{}
	}
	return h
}

// acceptedOf is the container as it is declared now; nil: it is not.
func (a *Actuator) acceptedOf(rec observed.ContainerRecord) (*desired.Sandbox, *desired.Container) {
	d := a.c.Accepted(rec.Sandbox)
	if d == nil {
		return nil, nil
	}
	return d, d.Container(rec.Name)
}
