package plan

import (
	"fmt"
	"time"

	"sandboxer/desired"
	"sandboxer/observed"
)

// The kinds of probes.
const (
	LivenessProbe  = "liveness"
	ReadinessProbe = "readiness"
	StartupProbe   = "startup"
)

// Health is what is remembered of an instance's probes.
type Health struct {
	// Started says that its startup probe has succeeded once, Ready that its
	// readiness probe is of that opinion.
	Started bool `json:"started,omitempty"`
	Ready   bool `json:"ready,omitempty"`
	// Failed is the kind of the probe that has it restarted; empty: none.
	Failed string `json:"failed,omitempty"`
	// Liveness, Readiness and Startup are how those probes failed last; empty
	// where they have succeeded since.
	Liveness  string `json:"liveness,omitempty"`
	Readiness string `json:"readiness,omitempty"`
	Startup   string `json:"startup,omitempty"`
}

// of is h without what belongs to probes that are not declared any more.
func (h Health) of(dc *desired.Container) Health {
	if h == (Health{}) {
		return h
	}
	if dc.LivenessProbe == nil {
		h.Liveness = ""
	}
	if dc.ReadinessProbe == nil {
		h.Ready, h.Readiness = false, ""
	}
	if dc.StartupProbe == nil {
		h.Startup = ""
	}
	if h.Failed == LivenessProbe && dc.LivenessProbe == nil || h.Failed == StartupProbe && dc.StartupProbe == nil {
		h.Failed = ""
	}
	return h
}

// Probed is what a probe has found out about one instance of a container.
type Probed struct {
	Container, ID string
	StartedAt     time.Time // of the instance
	Kind          string
	OK            bool
	// Conclusive says that it is so as many times in a row as it takes.
	Conclusive bool
	Message    string // how it failed
}

// Learn remembers what a probe has found out.
func Learn(r Probed) func(Memory) Memory {
	return func(m Memory) Memory {
		cm, ok := m.Containers[r.Container]
		if !ok || cm.Live != r.ID || !cm.LiveAt.Equal(r.StartedAt) {
			return m // it is about an instance that is no more
		}
		h := &cm.Health
		switch r.Kind {
		case LivenessProbe:
			h.Liveness = r.Message
		case ReadinessProbe:
			h.Readiness = r.Message
			if r.Conclusive {
				h.Ready = r.OK
			}
		case StartupProbe:
			h.Startup = r.Message
			h.Started = h.Started || r.OK && r.Conclusive
		}
		if r.Kind != ReadinessProbe && !r.OK && r.Conclusive {
			h.Failed = r.Kind
		}
		p := planner{mem: m}
		p.setContainer(r.Container, cm)
		return p.mem
	}
}

// HealthOf is what probes have found out about c; zero: nothing yet.
func HealthOf(c *observed.Container, m Memory) Health {
	cm := m.Containers[c.Name]
	if cm.Live != c.ID || !cm.LiveAt.Equal(c.StartedAt) {
		return Health{}
	}
	return cm.Health
}

// Ready reports whether a container runs and does what it is there for, as far
// as its probes can tell: one that is declared without them is ready at once.
func Ready(dc *desired.Container, c *observed.Container, m Memory) bool {
	h := HealthOf(c, m)
	return c.Exit == nil && c.State == observed.Running &&
		(dc.StartupProbe == nil || h.Started) && (dc.ReadinessProbe == nil || h.Ready)
}

// Stopping reports whether c was asked to end.
func Stopping(c *observed.Container, m Memory) bool {
	p := planner{mem: m}
	return p.asked(c)
}

// stepUnhealthy ends a container whose liveness or startup probe has failed. It
// is started again, or not, as after any other end.
func (p *planner) stepUnhealthy(c *observed.Container) step {
	dc, _ := p.d.Container(c.Name)
	h := p.mem.Containers[c.Name].Health
	probe, message := dc.LivenessProbe, h.Liveness
	if h.Failed == StartupProbe {
		probe, message = dc.StartupProbe, h.Startup
	}
	message = fmt.Sprintf("its %s probe failed: %s", h.Failed, message)
	grace := p.grace()
	if g := probe.TerminationGracePeriodSeconds; g != nil {
		grace = time.Duration(*g) * time.Second
	}
	why := fmt.Sprintf("container %q is unhealthy: %s", c.Name, message)
	how, s := p.endOne(c, why, "", grace)
	if how != "" {
		s = step{verb: Kill, name: c.Name, id: c.ID, reason: why + "; " + how}
	}
	s.exit, s.message, s.rests = observed.ReasonUnhealthy, message, true
	return s
}
