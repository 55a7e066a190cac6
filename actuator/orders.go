package actuator

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"

	"github.com/google/renameio/v2"

	"sandboxer/desired"
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

// outOfReach is ordered for what is more than a value: a file with orders must not
// be in a volume that a container can write, nor be reached through a link that one
// could have made.
func (a *Actuator) outOfReach(path string) error {
	if err := a.ordered(path); err != nil || a.c.AllowUnsafeOwners {
		return err
	}
	f, err := a.paths().Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	sandbox, err := a.writer(f.File)
	if err == nil && sandbox != "" {
		err = fmt.Errorf("%s is refused: it is in a volume that sandbox %q can write, and no container may write what is obeyed: mount that readOnly, or keep the file elsewhere", f.Real, sandbox)
	}
	return err
}

// orderedAll is outOfReach for a directory, and ordered for all files in it.
func (a *Actuator) orderedAll(dir string) error {
	if err := a.answersAll(dir); err != nil || a.c.AllowUnsafeOwners {
		return err
	}
	if err := a.outOfReach(dir); err != nil {
		return err
	}
	return owner.CheckAll(dir)
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

// hookKey reads the key that hooks and pid files in records are sealed with, and
// contents identified, or makes one.
func hookKey(path string) ([]byte, error) {
	const size = 32
	key, err := os.ReadFile(path)
	if err == nil && len(key) == size {
		return key, nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	key = make([]byte, size)
	_, _ = rand.Read(key) // it never fails
	return key, renameio.WriteFile(path, key, 0o600)
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
