package claims

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sandboxer/internal/mountinfo"
	"sandboxer/internal/shelf"
	"sandboxer/observed"
)

// ErrTaken says that another daemon works where this one is to work.
var ErrTaken = errors.New("another daemon's")

func (r registry) reserve(own Claim, h Host) (_ Claim, release func() error, err error) {
	if err := os.MkdirAll(string(r), 0o700); err != nil {
		return own, nil, err
	}
	// One at a time: each sees what the others have claimed.
	unlock, err := r.turn()
	if err != nil {
		return own, nil, err
	}
	defer unlock()
	all, err := r.read()
	if err != nil {
		return own, nil, err
	}
	for _, c := range all {
		if c.StateDir == own.StateDir {
			continue
		}
		if err := r.refuse(own, c, append(all, own), h); err != nil {
			return own, nil, err
		}
	}
	path := r.file(own.StateDir)
	free, err := observed.LockAt(lockFile(path), "the claim of "+own.StateDir)
	if err != nil {
		return own, nil, err
	}
	own.Starting = rand.Text()
	if was, err := read(path); err == nil {
		own.Before = &was
		if was.Starting != "" {
			own.Starting, own.Before, own.Again = was.Starting, was.Before, true
		}
	}
	if own.Before != nil {
		own.Before.Kept = own.Before.kept(h.Answers)
		own.Things, own.Kept = own.Before.Things, own.Before.Kept
	}
	if err := r.write(own); err != nil {
		return own, nil, errors.Join(err, free())
	}
	return own, free, nil
}

// takeBack has a claim be what it was before its daemon began to start, unless it is
// another one's by now. mine: the caller has its lock; else nobody may have it.
func (r registry) takeBack(c Claim, mine bool) error {
	unlock, err := r.turn()
	if err != nil {
		return err
	}
	defer unlock()
	path := r.file(c.StateDir)
	now, err := read(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case now.Starting != c.Starting || !mine && held(lockFile(path)):
		return nil
	case now.Before == nil:
		return remove(path)
	}
	return r.write(*now.Before)
}

// abandoned are the claims of daemons that died before they had started, as they wrote
// them.
func (r registry) abandoned() (all []Claim, err error) {
	paths, err := r.files()
	if err != nil {
		return nil, err
	}
	for _, path := range paths {
		c, err := read(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if c.Starting != "" && !held(lockFile(path)) {
			all = append(all, c)
		}
	}
	return all, nil
}

// coveringPatience is how long who covers waits for who uncovers, which may wait for a
// file system, and uncoveringPatience how long that waits for all others.
const (
	coveringPatience   = time.Second
	uncoveringPatience = 10 * time.Second
)

// Covering has nobody uncover what others may be counting on meanwhile, until done is
// called. Who uncovers is not waited for long: what is covered is worth more. Then sure is
// false: that one may take away what is covered, which is to be covered again.
func Covering(ctx context.Context) (done func(), sure bool, err error) {
	return ofHost.covering(ctx, coveringPatience)
}

func (r registry) covering(ctx context.Context, patience time.Duration) (done func(), sure bool, err error) {
	done, err = r.covers(ctx, unix.LOCK_SH, patience)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return func() {}, false, nil
	}
	return done, err == nil, err
}

// Uncovering has nobody cover anything until done is called, but who does not wait.
func Uncovering(ctx context.Context) (done func(), err error) {
	return ofHost.covers(ctx, unix.LOCK_EX, uncoveringPatience)
}

func (r registry) covers(ctx context.Context, how int, patience time.Duration) (done func(), err error) {
	if err := os.MkdirAll(string(r), 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(string(r), ".covers"), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	for began := time.Now(); ; {
		err = unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		} else if (errors.Is(err, unix.EINTR) || errors.Is(err, unix.EWOULDBLOCK)) && time.Since(began) <= patience {
			select {
			case <-time.After(patience / 200):
			case <-ctx.Done():
			}
			continue
		}
		f.Close()
		return nil, fmt.Errorf("waiting for daemons that cover what is theirs: %w", err)
	}
}

// turn waits until no other process reserves anything.
func (r registry) turn() (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(string(r), ".lock"), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	for err = unix.EINTR; errors.Is(err, unix.EINTR); {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("waiting for other daemons that start: %w", err)
	}
	return func() { f.Close() }, nil
}

// refuse returns an error if what a claim is of must not be shared.
func (r registry) refuse(own, c Claim, all []Claim, h Host) error {
	if same(own.StateDir, c.StateDir, h.Answers) {
		return nil // by another path
	}
	var shared string
	switch {
	case c.CgroupParent == "":
		return nil // an earlier version has written it, which did not say
	case overlap(own.CgroupParent, c.CgroupParent):
		shared = fmt.Sprintf("the cgroup parent %s (--cgroup-parent)", c.CgroupParent)
	case overlap(own.DataDir, c.DataDir) || Inside(own.DataDir, c.DataDir, h.Answers) || Inside(c.DataDir, own.DataDir, h.Answers):
		shared = fmt.Sprintf("the data directory %s (--data-dir)", c.DataDir)
	default:
		return nil
	}
	if r.isGone(c, all, h) {
		return nil // All removes it
	}
	unknown := func(what string, err error) error {
		return fmt.Errorf("%s can't be told: %w; if that daemon is gone for good, remove %s", what, err, r.file(c.StateDir))
	}
	lock := lockFile(r.file(c.StateDir))
	holder, err := observed.Locked(lock)
	if err == nil && holder == "" {
		// Somebody may have removed the claim's under it. Where that is there, it is enough.
		its := observed.LockFile(c.StateDir)
		if err = h.Answers(its); err == nil {
			holder, err = observed.Locked(its)
		}
		if err != nil && exists(lock) {
			err = nil
		}
	}
	if err != nil {
		return unknown("whether the daemon on "+c.StateDir+" runs", err)
	}
	if holder != "" {
		return fmt.Errorf("%w: %s is that of the daemon on %s, %s: give this one its own --state-dir, --data-dir and --cgroup-parent, or stop that one and its sandboxes first",
			ErrTaken, shared, c.StateDir, holder)
	}
	cgroups, err := living(c, all, h)
	if err != nil {
		return unknown("what runs of the daemon on "+c.StateDir, err)
	}
	if len(cgroups) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s is that of the daemon on %s, which does not run, but its sandboxes do (%s): go on with --state-dir %s, stop them with that, or give this daemon its own --state-dir, --data-dir and --cgroup-parent",
		ErrTaken, shared, c.StateDir, strings.Join(cgroups, ", "), c.StateDir)
}

// overlap says whether one path is the other, or is inside it.
func overlap(a, b string) bool {
	inside := func(a, b string) bool { return b == "/" || a == b || strings.HasPrefix(a, b+"/") }
	return inside(a, b) || inside(b, a)
}

// same says whether two paths lead to one directory.
func same(a, b string, answers func(path string) error) bool {
	if answers(a) != nil || answers(b) != nil {
		return false
	}
	ia, erra := os.Stat(a)
	ib, errb := os.Stat(b)
	return erra == nil && errb == nil && os.SameFile(ia, ib)
}

// Inside says whether a directory, or one that it is in, is another one, whatever paths
// lead there: also what a mount shows as its top is in folders of its file system.
func Inside(dir, of string, answers func(path string) error) bool {
	if answers(dir) != nil || answers(of) != nil {
		return false
	}
	outer, err := os.Stat(of)
	if err != nil {
		return false
	}
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return false
	}
	for ; ; real = filepath.Dir(real) {
		if info, err := os.Stat(real); err == nil && os.SameFile(info, outer) {
			return true
		}
		if real == "/" {
			break
		}
	}
	return placed(dir, of)
}

// placed says whether a directory is inside another one by where their file systems have
// them: a part of a directory may be mounted elsewhere.
func placed(dir, of string) bool {
	mounts, err := mountinfo.Read()
	if err != nil {
		return false
	}
	var at [2]shelf.Place
	for i, name := range []string{dir, of} {
		f, err := os.OpenFile(name, unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			return false
		}
		at[i], err = shelf.Locate(f, mounts)
		f.Close()
		if err != nil {
			return false
		}
	}
	return at[0].Device == at[1].Device && at[0].In(at[1:])
}
