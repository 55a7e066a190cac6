package desired

import (
	"fmt"
	"math"
	"net/netip"
	"strings"
)

// probes checks a container's probes and what it does before it is stopped. s
// is what the whole document says.
func (c *checker) probes(at string, ct *Container, s *Spec) {
	c.probe(at+".livenessProbe", ct.LivenessProbe, true, s)
	c.probe(at+".readinessProbe", ct.ReadinessProbe, false, s)
	c.probe(at+".startupProbe", ct.StartupProbe, true, s)
	p := ct.Lifecycle.PreStop
	if p == nil {
		return
	}
	at += ".lifecycle.preStop"
	c.means(at, "httpGet, sleep", p.Exec, p.HTTPGet, nil, p.Sleep, s)
	switch sl, most := p.Sleep, *s.TerminationGracePeriodSeconds; {
	case sl == nil:
	case sl.Seconds == 0:
		c.missing(at+".sleep.seconds", fmt.Sprintf("required: from 1 to terminationGracePeriodSeconds, %d", most))
	case sl.Seconds < 1 || sl.Seconds > most:
		c.add(at+".sleep.seconds", "%d is out of range: 1 to terminationGracePeriodSeconds, %d", sl.Seconds, most)
	}
}

// probe checks one; one that restarts its container does so at its threshold,
// and a single success is enough for it.
func (c *checker) probe(at string, p *Probe, restarts bool, s *Spec) {
	if p == nil {
		return
	}
	c.means(at, "httpGet, tcpSocket", p.Exec, p.HTTPGet, p.TCPSocket, nil, s)
	for _, n := range []struct {
		field string
		value int32
	}{
		{".initialDelaySeconds", p.InitialDelaySeconds},
		{".periodSeconds", p.PeriodSeconds},
		{".timeoutSeconds", p.TimeoutSeconds},
		{".successThreshold", p.SuccessThreshold},
		{".failureThreshold", p.FailureThreshold},
	} {
		if n.value < 0 {
			c.add(at+n.field, "%d is out of range: 0 to %d", n.value, math.MaxInt32)
		}
	}
	if restarts && p.SuccessThreshold > 1 {
		c.add(at+".successThreshold", "%d: must be 1 for liveness and startup probes", p.SuccessThreshold)
	}
	switch g := p.TerminationGracePeriodSeconds; {
	case g == nil:
	case !restarts:
		c.add(at+".terminationGracePeriodSeconds", "a readiness probe stops nothing: only liveness and startup probes have one")
	case *g < 1 || *g > math.MaxInt32:
		c.add(at+".terminationGracePeriodSeconds", "%d is out of range: 1 to %d", *g, math.MaxInt32)
	}
}

// means checks that exactly one is said, and that one. others are those that
// the place knows beside exec.
func (c *checker) means(at, others string, e *ExecAction, h *HTTPGetAction, t *TCPSocketAction, sl *SleepAction, s *Spec) {
	var said []string
	if e != nil {
		said = append(said, "exec")
		if len(e.Command) == 0 || e.Command[0] == "" {
			c.missing(at+".exec.command", "required: the program and its arguments")
		}
	}
	if h != nil {
		said = append(said, "httpGet")
		c.httpGet(at+".httpGet", h, s)
	}
	if t != nil {
		said = append(said, "tcpSocket")
		c.port(at+".tcpSocket.port", t.Port)
		c.host(at+".tcpSocket.host", t.Host, s)
	}
	if sl != nil {
		said = append(said, "sleep")
	}
	switch len(said) {
	case 0:
		c.missing(at, "does nothing: one of exec, "+others)
	case 1:
	default:
		c.add(at, "%s exclude each other: there is one way to do it", strings.Join(said, " and "))
	}
}

func (c *checker) httpGet(at string, h *HTTPGetAction, s *Spec) {
	if !strings.HasPrefix(h.Path, "/") || strings.ContainsFunc(h.Path, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		c.add(at+".path", "%q is no path: it starts with \"/\" and holds no blanks", clip(h.Path))
	}
	c.port(at+".port", h.Port)
	c.host(at+".host", h.Host, s)
	oneOf(c, at+".scheme", h.Scheme, SchemeHTTP, SchemeHTTPS)
	for i, header := range h.HTTPHeaders {
		at := fmt.Sprintf("%s.httpHeaders[%d]", at, i)
		switch {
		case header.Name == "":
			c.missing(at+".name", "required")
		case !isToken(header.Name):
			c.add(at+".name", "%q is no header's name", clip(header.Name))
		}
		if strings.ContainsFunc(header.Value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
			c.add(at+".value", "%q is no header's value: it holds control characters", clip(header.Value))
		}
	}
}

// isToken is RFC 9110's rule for the names of header fields.
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~", r))
	})
}

func (c *checker) port(at string, port int32) {
	switch {
	case port == 0:
		c.missing(at, fmt.Sprintf("required: a port from 1 to %d", math.MaxUint16))
	case port < 1 || port > math.MaxUint16:
		c.add(at, "%d is out of range: 1 to %d", port, math.MaxUint16)
	}
}

// host checks whom to connect to. Inside a sandbox without a network there is
// nobody but itself.
func (c *checker) host(at, host string, s *Spec) {
	switch {
	case host == "" || host == "localhost" || host == "127.0.0.1":
	case s.Network.Mode == NetworkNone:
		c.add(at, "%q can't be reached: a sandbox without a network reaches nobody but itself; leave it out", clip(host))
	case !isHost(host):
		c.add(at, "%q is neither a host name nor an address", clip(host))
	}
}

func isHost(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	for part := range strings.SplitSeq(strings.ToLower(s), ".") {
		if !isDNSLabel(part) {
			return false
		}
	}
	return len(s) < 254
}
