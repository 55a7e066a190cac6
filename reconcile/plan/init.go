package plan

import (
	"fmt"
	"iter"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"

	"sandboxer/desired"
	"sandboxer/observed"
	"sandboxer/oom"
)

// All are the declared containers, init ones first, each with its
// desired.Container.Hash.
func (d *Declared) All() iter.Seq2[*desired.Container, string] {
	return func(yield func(*desired.Container, string) bool) {
		for i := range d.Init {
			if !yield(&d.Init[i], d.InitHash[i]) {
				return
			}
		}
		for i := range d.Spec.Containers {
			if !yield(&d.Spec.Containers[i], d.ContainerHash[i]) {
				return
			}
		}
	}
}

// declareInit has success end an init container for good, and a failure only
// where nothing of the sandbox is to run again.
func (d *Declared) declareInit() {
	for _, c := range d.Spec.InitContainers {
		d.InitHash = append(d.InitHash, c.Hash())
		if c.RestartPolicy = desired.OnFailure; d.Spec.RestartPolicy == desired.Never {
			c.RestartPolicy = desired.Never
		}
		d.Init = append(d.Init, c)
	}
}

// score is an OOM score, or that none is declared.
type score struct {
	value int
	set   bool
}

func (d *Declared) declareScores() {
	var declared []oom.Declared
	for c := range d.All() {
		declared = append(declared, oom.Declared{Score: c.OOMScoreAdj})
	}
	for done := range len(d.Init) + 1 {
		if done > 0 {
			declared[done-1].FinishedInit = true
		}
		var s score
		s.value, s.set = oom.Score(declared)
		d.scores = append(d.scores, s)
	}
}

// Score is the declared score of the sandbox's sentry and all below it once so
// many init containers have succeeded; set is false where none is declared.
func (d *Declared) Score(initDone int) (value int, set bool) {
	s := d.scores[initDone]
	return s.value, s.set
}

// atLeast is total, or the highest limit of an init container if that is more;
// nil where total or one of these is none.
func atLeast(total *resource.Quantity, init []desired.Container, of func(desired.Limits) *resource.Quantity) *resource.Quantity {
	for i := range init {
		q := of(init[i].Resources.Limits)
		if total == nil || q == nil {
			return nil
		}
		if q.Cmp(*total) > 0 {
			total = q
		}
	}
	return total
}

// initDone counts the init containers that have succeeded, one after the
// other, in the sandbox that m's InitIn is of.
func initDone(d *Declared, m Memory) int { return min(m.InitDone, len(d.Init)) }

func succeeded(c *desired.Container, cm ContainerMemory) bool {
	return finished(c, cm) && cm.Exit.Known && cm.Exit.Code == 0
}

// initFailed is the init container that has failed and is not to run again, so
// that nothing of the sandbox is; nil where there is none.
func initFailed(d *Declared, m Memory) *desired.Container {
	i := initDone(d, m)
	if i == len(d.Init) {
		return nil
	}
	c := &d.Init[i]
	if cm := m.Containers[c.Name]; !finished(c, cm) || succeeded(c, cm) {
		return nil
	}
	return c
}

// Initializing says which init container's turn it is in the sandbox of that
// sentry; pending is false where all have succeeded.
func Initializing(d *Declared, m Memory, sentry observed.Process) (i int, pending bool) {
	if m.InitIn == sentry {
		i = initDone(d, m)
	}
	return i, i < len(d.Init)
}

// rememberInit has the init containers run again in a sandbox that was made
// anew: whatever they did was for another one. In one that was restored they
// have done what its checkpoint says.
func (p *planner) rememberInit() {
	m := &p.mem
	p.rememberRenewal()
	if len(p.d.Init) == 0 {
		m.InitIn, m.InitDone = observed.Process{}, 0
		return
	}
	if !p.running() || p.suspended() || m.InitIn == p.o.Record.Sentry {
		return
	}
	m.InitIn, m.InitDone = p.o.Record.Sentry, 0
	for i := range p.d.Init {
		name := p.d.Init[i].Name
		c, cm := p.find(name), m.Containers[name]
		restored := c != nil && p.o.Record.Restored
		cm.Fresh = !restored
		if c != nil && !restored && !Live(c) {
			cm.Live, cm.LiveAt, cm.Seen = c.ID, c.StartedAt, c.ID // an earlier sandbox's
		}
		p.setContainer(name, cm)
	}
}

// rememberRenewal forgets that a new sandbox was asked for once there is none,
// or a new one.
func (p *planner) rememberRenewal() {
	m := &p.mem
	none := p.world == absent || p.world == stopped
	if m.RestartAsked.IsZero() || !none && (!p.running() || p.predates(p.o.Record.CreatedAt, m.RestartAsked)) {
		return
	}
	m.RestartAsked = time.Time{}
	for i := range p.d.Init {
		name := p.d.Init[i].Name
		if cm := m.Containers[name]; none && cm.Live != "" {
			cm.Fresh, cm.Attempts, cm.NextStart = true, 0, time.Time{}
			p.setContainer(name, cm)
		}
	}
}

// rememberInitDone counts the init containers that have succeeded. Those whose
// successor runs have, whatever else was forgotten.
func (p *planner) rememberInitDone() {
	m := &p.mem
	if len(p.d.Init) == 0 || !p.running() || p.suspended() {
		return
	}
	runs := func(dc *desired.Container) bool {
		c := p.find(dc.Name)
		return c != nil && Live(c)
	}
	for i := range p.d.Init {
		if c := &p.d.Init[i]; i == m.InitDone && succeeded(c, m.Containers[c.Name]) {
			m.InitDone++
		} else if i > m.InitDone && runs(c) {
			m.InitDone = i
		}
	}
	for i := range p.d.Spec.Containers {
		if runs(&p.d.Spec.Containers[i]) {
			m.InitDone = len(p.d.Init)
		}
	}
}

// stepInit decides for the i-th init container, of which done have succeeded.
func (p *planner) stepInit(i, done int) step {
	dc := &p.d.Init[i]
	c := p.find(dc.Name)
	why, torn := p.o.BrokenContainers[dc.Name]
	switch up := c != nil && Live(c); {
	case i > done, i < done && !up && !torn:
		if c != nil && !up {
			s, _ := p.release(c)
			return s
		}
		return step{} // its turn comes, or is over
	case i < done && torn:
		return step{verb: Remove, name: dc.Name,
			reason: fmt.Sprintf("the record of init container %q can't be used (%s), and its turn is over", dc.Name, why)}
	}
	s := p.step(dc, p.d.InitHash[i])
	if cm := p.mem.Containers[dc.Name]; s.verb == Start && cm.Fresh && c != nil && c.Exit != nil {
		s.reason = fmt.Sprintf("init container %q is to run before the containers are started", dc.Name)
	}
	return s
}
