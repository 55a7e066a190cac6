package actuator

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"sandboxer/desired"
	"sandboxer/internal/hostpath"
	"sandboxer/internal/oci"
	"sandboxer/observed"
)

// touchTime is how long a file system may take to answer who only compares.
const touchTime = 100 * time.Millisecond

// wherever follows every link: what is found is compared, and given to nobody.
func (a *Actuator) wherever() hostpath.Resolver {
	check := a.c.Answers.Scan(touchTime)
	return hostpath.Resolver{Answers: func(path string) error { return check(path, false) }, Do: a.c.Answers.Do, Link: hostpath.AnyLink}
}

// contentsOf are the files that are read for a container. They are read before
// that, so that one which is changed meanwhile is told of.
func (a *Actuator) contentsOf(c *desired.Container) (contents []observed.Content) {
	paths := a.wherever()
	add := func(what, path string) {
		if digest, err := a.digestOf(paths, path); err == nil { // else the container is not started
			contents = append(contents, observed.Content{What: what, Path: path, Digest: digest})
		}
	}
	if c.Bundle != "" {
		add("the bundle's", filepath.Join(c.Bundle, "config.json"))
	}
	for _, e := range c.Env {
		if e.ValueFrom != nil {
			add("variable "+e.Name+"'s file", e.ValueFrom.File)
		}
	}
	return contents
}

// digestOf identifies what is in a file that a container is made from. It takes
// the daemon's key to find out by trying what a short secret was.
func (a *Actuator) digestOf(paths hostpath.Resolver, path string) (string, error) {
	b, err := paths.Read(path, oci.ConfigMax)
	if err != nil {
		return "", err
	}
	mac := hmac.New(sha256.New, a.hookKey)
	fmt.Fprintf(mac, "content\x00%s\x00%s", path, b)
	return hex.EncodeToString(mac.Sum(nil)), nil
}

// note has a container's record tell what it is given.
func (b *bundle) note(what string, m served) error {
	o, err := objectOf(m)
	if err == nil && !m.earlier { // that is not what its path leads to
		b.objects = append(b.objects, observed.Object{What: what, Path: m.tree.Path, Device: o.Device, Inode: o.Inode})
	}
	return err
}

// Replaced says what a running container was made from and is not there any
// more. Of what can't be looked at now nothing is said.
func (a *Actuator) Replaced(rec observed.ContainerRecord) (replaced []string) {
	if len(rec.Objects)+len(rec.Contents) == 0 {
		return nil // an earlier version has made it
	}
	paths := a.wherever()
	for _, o := range rec.Objects {
		replaced = append(replaced, replacedObject(paths, o)...)
	}
	for _, c := range rec.Contents {
		digest, err := a.digestOf(paths, c.Path)
		replaced = append(replaced, difference(c.What+" "+c.Path, "changed", digest == c.Digest, err)...)
	}
	return replaced
}

func replacedObject(paths hostpath.Resolver, o observed.Object) []string {
	f, err := paths.Open(o.Path)
	var st unix.Stat_t
	if err == nil {
		err = unix.Fstat(int(f.Fd()), &st)
		f.Close()
	}
	return difference(o.What+" "+o.Path, "replaced", st.Dev == o.Device && st.Ino == o.Inode, err)
}

// difference says what has been done to something since it was looked at.
func difference(name, done string, same bool, err error) []string {
	switch {
	case errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR):
		return []string{name + " was removed"}
	case err != nil || same:
		return nil
	}
	return []string{name + " was " + done}
}
