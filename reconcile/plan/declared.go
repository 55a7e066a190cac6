package plan

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"

	"sandboxer/desired"
	"sandboxer/observed"
)

// Declared is a declaration with everything that Decide derives from it. The
// hashes cost more than a whole plan, so they are computed once, when a
// declaration changes. It is not modified after Declare returns it.
type Declared struct {
	*desired.Sandbox
	// SpecHash is desired.Sandbox.Hash: everything that the document says.
	SpecHash string
	// WorkHash is the same without the labels, which start nothing.
	WorkHash string
	// Identity identifies all that is not changed in place: what has ended for
	// good runs again under another one.
	Identity string
	// SandboxHash is desired.Sandbox.SandboxHash.
	SandboxHash string
	// LimitsHash identifies the limits of the sandbox's cgroup.
	LimitsHash string
	// ContainerHash holds desired.Container.Hash in the containers' order.
	ContainerHash []string
	// Init are the init containers, each with the policy that it follows: one
	// that failed runs again (OnFailure) or not (Never). InitHash is in their order.
	Init     []desired.Container
	InitHash []string
	// Leaving says that the state is Stopped only because the daemon ends: what
	// is suspended stays so, and what has ended for good.
	Leaving bool
	// Scores identifies the OOM scores that are declared.
	Scores string

	scores []score // by how many init containers have succeeded
}

// Declare derives what Decide needs from s, which must not change any more.
func Declare(s *desired.Sandbox) *Declared {
	unlabelled := *s
	unlabelled.Labels = nil
	d := &Declared{
		Sandbox:       s,
		SpecHash:      s.Hash(),
		WorkHash:      unlabelled.Hash(),
		SandboxHash:   s.SandboxHash(),
		LimitsHash:    limitsHash(SumLimits(s)) + ownHash(s),
		ContainerHash: make([]string, len(s.Spec.Containers)),
	}
	for i := range s.Spec.Containers {
		d.ContainerHash[i] = s.Spec.Containers[i].Hash()
	}
	d.Identity = strings.Join(append([]string{d.SandboxHash}, d.ContainerHash...), ",")
	d.declareInit()
	d.declareScores()
	d.Scores = scoresString(d)
	return d
}

// IsOf says that a sandbox with that record is what is declared, but for what
// is changed in place and its containers.
func (d *Declared) IsOf(r *observed.Record) bool {
	return r.SandboxHash == d.SandboxHash && d.opened(r) == ""
}

// opened is a volume that is to be written now, and that nobody could write when
// the sandbox was made: the file system that its containers share is served to be
// read only, and one that can be written would be another; "" where there is none.
func (d *Declared) opened(r *observed.Record) string {
	if r.Written == nil {
		return "" // an earlier version has made it
	}
	for _, name := range d.Written() {
		if !slices.Contains(r.Written, name) {
			return name
		}
	}
	return ""
}

// SumLimits is what the sandbox's cgroup is limited to before the headroom
// that the sentry gets: the sum of its containers' limits, or an init
// container's if that is more, where every one of them has a limit, else none
// (nil). A Pod has the same.
func SumLimits(s *desired.Sandbox) desired.Limits {
	of := func(limit func(desired.Limits) *resource.Quantity) *resource.Quantity {
		return atLeast(sum(s.Spec.Containers, limit), s.Spec.InitContainers, limit)
	}
	return desired.Limits{
		CPU:              of(func(l desired.Limits) *resource.Quantity { return l.CPU }),
		Memory:           of(func(l desired.Limits) *resource.Quantity { return l.Memory }),
		EphemeralStorage: of(func(l desired.Limits) *resource.Quantity { return l.EphemeralStorage }),
	}
}

// sumMax bounds a sum as each limit is bounded: no host has as much, and no arithmetic
// on it overflows.
const sumMax = 1 << 60

func sum(containers []desired.Container, of func(desired.Limits) *resource.Quantity) *resource.Quantity {
	var total *resource.Quantity
	for i := range containers {
		q := of(containers[i].Resources.Limits)
		if q == nil {
			return nil
		}
		if total == nil {
			total = new(resource.Quantity)
		}
		total.Add(*q)
		if most := resource.NewQuantity(sumMax, resource.BinarySI); total.Cmp(*most) > 0 {
			total = most // what is beyond an int64 would come out as anything
		}
	}
	return total
}

// limitsHash is readable, because it shows in records: what is compared is
// the value, not its notation ("1Gi" is "1024Mi").
func limitsHash(l desired.Limits) string {
	cpu, memory := "none", "none"
	if l.CPU != nil {
		cpu = fmt.Sprintf("%dm", l.CPU.MilliValue())
	}
	if l.Memory != nil {
		memory = fmt.Sprint(l.Memory.Value())
	}
	return "cpu=" + cpu + ",memory=" + memory
}

// ownHash says the limits that each container has for itself.
func ownHash(s *desired.Sandbox) string {
	var b strings.Builder
	for _, c := range slices.Concat(s.Spec.InitContainers, s.Spec.Containers) {
		if p := c.Resources.Limits.Pids; p != nil {
			fmt.Fprintf(&b, ",pids.%s=%d", c.Name, *p)
		}
		if q := c.Resources.Limits.EphemeralStorage; q != nil {
			fmt.Fprintf(&b, ",storage.%s=%d", c.Name, q.Value())
		}
	}
	return b.String()
}

// scoresString says every declared score: the sandbox's, then each
// container's in the order of all.
func scoresString(d *Declared) string {
	var b strings.Builder
	b.WriteString("sandbox=")
	if score, set := d.Score(len(d.Init)); set {
		fmt.Fprint(&b, score)
	}
	for c := range d.All() {
		fmt.Fprintf(&b, ",%s=", c.Name)
		if c.OOMScoreAdj != nil {
			fmt.Fprint(&b, *c.OOMScoreAdj)
		}
	}
	return b.String()
}

// Container finds a declared container, init ones among them, by name, with its
// desired.Container.Hash; nil where there is none.
func (d *Declared) Container(name string) (c *desired.Container, hash string) {
	if d != nil {
		for c, hash := range d.All() {
			if c.Name == name {
				return c, hash
			}
		}
	}
	return nil, ""
}

// defaultGrace holds where no declaration was ever seen: the manifest page's
// default.
const defaultGrace = 30 * time.Second

func (d *Declared) graceSeconds() *int64 {
	if d == nil {
		return nil
	}
	return d.Spec.TerminationGracePeriodSeconds
}
