package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	sdnotify "github.com/coreos/go-systemd/v22/daemon"
	"github.com/go-logr/logr"
	"golang.org/x/sys/unix"

	"sandboxer/actuator"
	"sandboxer/desired"
	"sandboxer/internal/answers"
	"sandboxer/internal/api"
	"sandboxer/internal/cgroup"
	"sandboxer/internal/checkpoint"
	"sandboxer/internal/claims"
	"sandboxer/internal/events"
	"sandboxer/internal/logs"
	"sandboxer/internal/probe"
	"sandboxer/internal/status"
	"sandboxer/internal/written"
	"sandboxer/observed"
	"sandboxer/reconcile"
)

// Config is what the daemon command's flags say; see there for defaults.
type Config struct {
	Manifests     []string
	StateDir      string
	DataDir       string
	Socket        string // empty: sandboxer.sock in StateDir
	Resync        time.Duration
	Settle        time.Duration
	DeletionGuard float64
	CgroupParent  string
	ConfigFile    string // that it was read from; empty: none
	// Own are more directories that are for no container.
	Own []string
	// ResyncOnly acts on nothing but the resync: no file events, no ends of
	// processes, no timers.
	ResyncOnly bool
	// AllowUnsafeOwners obeys manifests, and what they name to be obeyed, that
	// others can write.
	AllowUnsafeOwners bool
	// AllowKernelFileSystems lets containers mount the host's procfs, sysfs and
	// devices.
	AllowKernelFileSystems bool
	// Access says what the members of groups may do; empty: whoever can open the
	// socket may do everything.
	Access []api.Grant
	// AllowBundleHooks runs the hooks of OCI bundles.
	AllowBundleHooks bool
	// StopSandboxesOnExit stops every sandbox before Run returns.
	StopSandboxesOnExit bool
	// Foreground makes this the daemon of one sandbox that ends with it; nil: it
	// is that of a host.
	Foreground *Foreground
	// MaxLogFile bounds each file of a container's log, in bytes, and
	// MaxLogFiles how many there are; 0: the defaults of package logs.
	MaxLogFile  int64
	MaxLogFiles int
	Version     api.Version
	Log         logr.Logger
	// RecentLog is the end of what was logged; nil: it is not kept.
	RecentLog func() []byte
}

// daemon is what the parts share.
type daemon struct {
	c         Config
	records   *observed.Records
	cgroups   *cgroup.Host
	logs      *logs.Logs
	events    *events.Log
	board     *status.Board
	directory *desired.Directory
	source    *source
	memories  memories
	images    checkpoint.Store
	refused   map[checkpoint.Directory]string // checkpoints, and why
	looker    *observed.Looker
	actuator  *actuator.Actuator
	prober    *probe.Prober
	loop      *reconcile.Loop
	watcher   *observed.Watcher
	alarms    *cgroup.Alarms
	reaper    *observed.Reaper
	passes    passes
	// publishing keeps a pass from being published after a later one.
	publishing sync.Mutex
	troubles   troubles
	startup    *startup
	// told is the latest set that the loop and the users were told of; nil before
	// the first.
	told *desired.Set
	own  things
	// covered is where all was that was hidden last, ownCovered what is this
	// daemon's own of that.
	covered, ownCovered string
	kept                kept
	// starting and before are what the claim says as long as the daemon may be refused.
	starting string
	before   *claims.Claim
	moved    chan struct{} // capacity 1: what is this daemon's may not be covered
	lost     told          // of other daemons'
	answers  *answers.Checker
	written  *written.Log
	newKey   bool           // the key of records was made by this daemon
	unlock   []func() error // what this process alone has
	started  time.Time
	held     bool     // something did not end; it ends with the process
	program  *os.File // the gofers', while the daemon runs; nil: this binary
}

// Run runs the daemon until ctx is done, and leaves every sandbox running
// unless the configuration says otherwise. An error says why it could not
// start or go on. It must be root's.
func Run(ctx context.Context, c Config) error {
	// What this process was started with is no business of its children, which
	// get what is donated and nothing else.
	if err := unix.CloseRange(3, 1<<31-1, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("keeping inherited files from sandboxes: %w", err)
	}
	if err := c.followed(); err != nil {
		return err
	}
	for _, dir := range []string{c.StateDir, c.DataDir} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	unlock, err := observed.Lock(c.StateDir)
	if errors.Is(err, observed.ErrLocked) {
		return fmt.Errorf("another daemon works on %s: %w; stop it first, or give this one its own --state-dir, --data-dir and --cgroup-parent", c.StateDir, err)
	}
	if err != nil {
		return err
	}
	d := &daemon{c: c, started: time.Now(), board: status.NewBoard(), startup: newStartup(), troubles: troubles{}, refused: map[checkpoint.Directory]string{}, moved: make(chan struct{}, 1), unlock: []func() error{unlock}}
	defer func() {
		if d.held {
			return
		}
		for _, unlock := range d.unlock {
			_ = unlock() // the locks go with the process anyway
		}
	}()
	if c.Socket == "" {
		d.c.Socket = filepath.Join(c.StateDir, "sandboxer.sock")
	}
	starting := ctx
	if c.Foreground != nil || c.StopSandboxesOnExit {
		// One that is to end already has to know what runs, to end that.
		starting = context.WithoutCancel(ctx)
	}
	if err := d.open(starting); err != nil {
		return err
	}
	defer func() {
		if !d.held {
			d.close()
		}
	}()
	listener, err := d.listenCovered(starting)
	if err != nil {
		return err
	}
	d.admit()
	if err := d.actuator.Adopt(); err != nil {
		d.c.Log.Error(err, "some sandboxes could not be taken over")
	}
	return d.run(ctx, listener)
}

// admit takes over the records of an earlier version, or those that a lost key was
// for. That it did is an event, after which an earlier version must have run to
// have it done again.
func (d *daemon) admit() {
	all := d.newKey || d.events.Earlier()
	n, err := d.actuator.Admit(all)
	if err != nil {
		d.c.Log.Error(err, "records are not believed that this daemon did not write")
	}
	if n > 0 || d.events.Earlier() {
		d.events.Append(events.Event{Reason: "RecordsAdmitted", Message: fmt.Sprintf(
			"records of %d sandboxes were not signed with this daemon's key, as an earlier version's are not, and were checked against the kernel and signed", n)})
	}
}

// run runs the parts. What feeds others ends after them: the loop stops after
// who asks for its work, with its actions in flight completed; the reaper last.
// A part that fails ends all as who asks for it would.
func (d *daemon) run(ctx context.Context, listener net.Listener) error {
	server, err := api.New(api.Config{Backend: d, Version: d.c.Version, Log: d.c.Log,
		Access: d.c.Access, CgroupParent: d.c.CgroupParent, Audit: d.asked})
	if err != nil {
		return err
	}
	below := newGroup(context.WithoutCancel(ctx))
	below.run("watching processes", d.watcher.Run)
	below.run("reaping processes", d.reaper.Run)
	below.run("watching memory", d.alarms.Run)

	if d.c.Foreground != nil && ctx.Err() != nil {
		d.source.endAll() // nothing is to begin
		d.source.hurry()
	}
	loop := newGroup(context.WithoutCancel(ctx))
	loop.run("reconciling", d.loop.Run)
	above := newGroup(context.WithoutCancel(ctx))
	above.run("serving the API", func(ctx context.Context) error { return d.serve(ctx, server, listener) })
	above.run("reading manifests", func(ctx context.Context) error { return d.directory.Run(ctx, d.declarationsChanged) })
	above.run("probing", d.prober.Run)
	above.run("keeping from containers what is not theirs", d.keepGuard)
	above.run("watching mounts", d.watchMounts)
	above.run("looking after the fast path", d.crowd().Run)
	if f := d.c.Foreground; f != nil {
		above.run("telling of the sandbox", func(ctx context.Context) error { return d.board.Watch(ctx, "", f.Seen) })
	}
	d.c.Log.Info("started", "manifests", d.c.Manifests, "state", d.c.StateDir, "data", d.c.DataDir)
	// systemd is told how it stands; without it there is nobody to tell.
	select {
	case <-d.startup.ready:
		d.c.Log.Info("ready")
		_, _ = sdnotify.SdNotify(false, sdnotify.SdNotifyReady)
	case <-ctx.Done():
	case <-above.ctx.Done():
	case <-below.ctx.Done():
	}
	select {
	case <-ctx.Done():
	case <-above.ctx.Done():
	case <-below.ctx.Done():
	}
	_, _ = sdnotify.SdNotify(false, sdnotify.SdNotifyStopping)
	if d.c.Foreground != nil || d.c.StopSandboxesOnExit {
		select {
		case <-d.startup.ready: // until then not everything is known
		case <-above.ctx.Done():
		case <-below.ctx.Done():
		}
	}
	switch {
	case d.c.Foreground != nil:
		err = d.removeAll(loop.ctx)
	case d.c.StopSandboxesOnExit:
		err = d.stopAll(loop.ctx)
	}
	return errors.Join(err, d.end(server, above, loop, below))
}

// endTime is how long an end in order may take.
const endTime = 4 * time.Second

// end ends the parts, one after the other. What waits for a runtime or in the
// kernel may do so for ever: it is left to end with the process, as it would if
// that was killed.
func (d *daemon) end(server *api.Server, all ...*group) error {
	ended := make(chan error, 1)
	go func() {
		var errs []error
		for _, parts := range all {
			parts.cancel()
			errs = append(errs, parts.wait())
		}
		ended <- errors.Join(errs...)
	}()
	select {
	case err := <-ended:
		return err
	case <-time.After(endTime):
		d.held = true
		var left []string
		for _, parts := range all { // those after the first of these were not told to end
			if left = parts.left(); len(left) > 0 {
				break
			}
		}
		d.c.Log.Info("ending with something under way, which the next daemon goes on with",
			"parts", left, "sandboxes", d.loop.Unfinished(), "requests", server.Unfinished())
		return nil
	}
}

// Names lists every sandbox of which something exists: a record, a checkpoint,
// or a cgroup below the parent that belongs to nobody else. It implements
// reconcile.Lister.
func (d *daemon) Names(context.Context) ([]string, error) {
	names, err := d.looker.List()
	if err != nil {
		return nil, err
	}
	cgroups, err := d.cgroups.List(d.c.CgroupParent)
	if err != nil {
		return nil, err
	}
	images, err := d.images.Names()
	if err != nil {
		return nil, err
	}
	return slices.Concat(names, cgroups, images), nil
}
