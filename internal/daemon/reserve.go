package daemon

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"sandboxer/internal/answers"
	"sandboxer/internal/api"
	"sandboxer/internal/claims"
	"sandboxer/internal/shelf"
	"sandboxer/observed"

	"golang.org/x/sys/unix"
)

// claim is what this daemon has for itself.
func (d *daemon) claim() claims.Claim {
	c := claims.Claim{StateDir: d.c.StateDir, DataDir: d.c.DataDir, CgroupParent: d.c.CgroupParent, Things: d.own.all(), Kept: d.kept.all()}
	if d.starting != "" {
		c.Starting, c.Before, c.Kept = d.starting, d.before, nil
		if d.before != nil {
			c.Kept = d.before.Kept // no more for sure
		}
	}
	return c
}

// reserve has this daemon be the only one on its directories and below its cgroup
// parent, and these out of reach of all containers, before anything of that is touched.
// Where that can't be, containers and claims are left as they were.
func (d *daemon) reserve(ctx context.Context) (err error) {
	asked := answers.New("/proc/self/exe", nil)
	defer asked.Close()
	if err := d.c.apart(asked.Check); err != nil {
		return err
	}
	own, release, err := claims.Reserve(d.claim(), claims.Host{Answers: asked.Check, Cgroups: d.cgroups})
	if err != nil {
		return err
	}
	d.unlock = append(d.unlock, release)
	d.starting, d.before = own.Starting, own.Before
	d.kept.set(own.Kept)
	d.own.set(own.Things)
	defer func() {
		if err == nil {
			return
		}
		if leftErr := d.takeBack(context.WithoutCancel(ctx), asked); leftErr != nil {
			d.c.Log.Error(leftErr, "what was covered in containers is left so")
		}
	}()
	if err := d.c.inTheFolder(api.CheckFree(d.c.Socket, d.isStranger(asked.Check))); err != nil {
		return err
	}
	things, err := d.things(asked.Check)
	if err != nil {
		return err
	}
	if _, err := os.Lstat(d.c.Socket); err != nil {
		// Until it is made, the folder would be kept as it is instead.
		things = slices.DeleteFunc(things, func(t shelf.Thing) bool { return t.What == socketThing })
	}
	d.own.set(things)
	// What refuses the start is looked for first, without a trace in any container or in
	// the directories.
	if err := d.notPlanted(asked.Check, true); err != nil {
		return err
	}
	if err = d.exposed(ctx, asked); err == nil {
		err = claims.Write(d.claim())
	}
	if err == nil {
		err = d.keepOwn(ctx, asked)
	}
	if err != nil {
		return fmt.Errorf("keeping the daemon's own from containers: %w", err)
	}
	// By now no container can change anything.
	if err := d.notPlanted(asked.Check, false); err != nil {
		return err
	}
	// A host that shares the disk knows nothing of claims.
	unlock, err := observed.Lock(d.c.DataDir)
	if err != nil {
		return fmt.Errorf("another daemon works on the data directory: %w; give this one its own --data-dir", err)
	}
	d.unlock = append(d.unlock, unlock)
	if own.Again {
		if err := d.uncoverAlone(ctx, asked, things, d.starting); err != nil {
			d.c.Log.Error(err, "what a daemon has covered that died while it started is not taken back")
		}
	}
	starting, before := d.starting, d.before
	d.starting, d.before = "", nil
	if err := claims.Write(d.claim()); err != nil {
		d.starting, d.before = starting, before // by that it is taken back
		return err
	}
	return nil
}

// kept is what of a daemon's own is out of all containers' reach, and since when.
type kept struct {
	mu   sync.Mutex
	list []shelf.Kept
}

func (k *kept) all() []shelf.Kept {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.list
}

func (k *kept) set(list []shelf.Kept) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.list = list
}

// renew is all that is kept by now; it says whether that has changed.
func (k *kept) renew(own *shelf.Look, left []reach) bool {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &ts) // as files are dated; there is this clock
	now := time.Unix(ts.Unix())
	was, list := k.all(), []shelf.Kept{}
	own.Found(func(t shelf.Thing, where shelf.Place) {
		if slices.ContainsFunc(left, func(r reach) bool { return slices.Contains(r.things, t) }) {
			return
		}
		since := now
		if i := slices.IndexFunc(was, func(k shelf.Kept) bool { return k.Place.Is(where) }); i >= 0 {
			since = was[i].Since
		}
		list = append(list, shelf.Kept{Place: where, Since: since})
	})
	k.set(list)
	return !reflect.DeepEqual(was, list)
}

// apart refuses directories that would be taken for each other's contents: what
// is in the state directory goes with a reboot, containers write in the data
// directory, and in both there are files that are no manifests.
func (c *Config) apart(answers func(path string) error) error {
	type dir struct{ flag, path string }
	state, data := dir{"--state-dir", c.StateDir}, dir{"--data-dir", c.DataDir}
	pairs := [][2]dir{{data, state}, {state, data}}
	for _, m := range c.Manifests {
		pairs = append(pairs, [2]dir{{"--manifests", m}, state}, [2]dir{{"--manifests", m}, data})
	}
	for _, p := range pairs {
		inner, err := resolve(p[0].path, answers)
		if err != nil {
			return err
		}
		outer, err := resolve(p[1].path, answers)
		if err != nil {
			return err
		}
		if inner == outer || strings.HasPrefix(inner, strings.TrimSuffix(outer, "/")+"/") || claims.Inside(p[0].path, p[1].path, answers) {
			return fmt.Errorf("%s %s is %s %s, or inside it: give each a directory of its own", p[0].flag, p[0].path, p[1].flag, p[1].path)
		}
	}
	return nil
}

// resolve makes a path absolute and free of links, as far as it exists and
// answers.
func resolve(path string, answers func(path string) error) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil || answers(path) != nil {
		return path, err
	}
	rest := ""
	for dir := path; dir != "/"; dir = filepath.Dir(dir) {
		if real, err := filepath.EvalSymlinks(dir); err == nil {
			return filepath.Join(real, rest), nil
		}
		rest = filepath.Join(filepath.Base(dir), rest)
	}
	return path, nil
}
