package desired

// Probe asks a container how it is, with the meaning it has in a Kubernetes
// Pod. Exactly one of its means is set.
type Probe struct {
	Exec      *ExecAction      `json:"exec,omitempty"`
	HTTPGet   *HTTPGetAction   `json:"httpGet,omitempty"`
	TCPSocket *TCPSocketAction `json:"tcpSocket,omitempty"`
	// All are counted from the container's start, or the last probe's; those
	// that are 0 in a manifest get their defaults, except for the first.
	InitialDelaySeconds int32 `json:"initialDelaySeconds,omitempty" jsonschema:"minimum=0"`
	PeriodSeconds       int32 `json:"periodSeconds,omitempty" jsonschema:"minimum=0"`
	TimeoutSeconds      int32 `json:"timeoutSeconds,omitempty" jsonschema:"minimum=0"`
	SuccessThreshold    int32 `json:"successThreshold,omitempty" jsonschema:"minimum=0"`
	FailureThreshold    int32 `json:"failureThreshold,omitempty" jsonschema:"minimum=0"`
	// TerminationGracePeriodSeconds takes the sandbox's place where this probe
	// has a container stopped; nil: it does not. Not for readiness probes.
	TerminationGracePeriodSeconds *int64 `json:"terminationGracePeriodSeconds,omitempty" jsonschema:"minimum=1"`
}

// ExecAction runs a command in the container; exit code 0 is a success.
type ExecAction struct {
	Command []string `json:"command" jsonschema:"minItems=1"`
}

// HTTPGetAction asks an HTTP server; a status of 200 to 399 is a success.
type HTTPGetAction struct {
	Path        string       `json:"path,omitempty"` // after defaults: never empty
	Port        int32        `json:"port" jsonschema:"minimum=1,maximum=65535"`
	Host        string       `json:"host,omitempty"`
	Scheme      string       `json:"scheme,omitempty" jsonschema:"enum=HTTP,enum=HTTPS"`
	HTTPHeaders []HTTPHeader `json:"httpHeaders,omitempty"`
}

// HTTPHeader is one header of a request. A name can stand more than once.
type HTTPHeader struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// TCPSocketAction connects; that is the success.
type TCPSocketAction struct {
	Port int32  `json:"port" jsonschema:"minimum=1,maximum=65535"`
	Host string `json:"host,omitempty"`
}

// SleepAction only waits.
type SleepAction struct {
	Seconds int64 `json:"seconds" jsonschema:"minimum=1"`
}

// PreStop is done before a container is sent its stop signal. Exactly one of
// its means is set.
type PreStop struct {
	Exec    *ExecAction    `json:"exec,omitempty"`
	HTTPGet *HTTPGetAction `json:"httpGet,omitempty"`
	Sleep   *SleepAction   `json:"sleep,omitempty"`
}

// The means of probing that have a name elsewhere too.
const (
	SchemeHTTP  = "HTTP"
	SchemeHTTPS = "HTTPS"
)

func setProbeDefaults(p *Probe) {
	if p == nil {
		return
	}
	setHTTPDefaults(p.HTTPGet)
	fill(&p.PeriodSeconds, 10)
	fill(&p.TimeoutSeconds, 1)
	fill(&p.SuccessThreshold, 1)
	fill(&p.FailureThreshold, 3)
}

func setHTTPDefaults(h *HTTPGetAction) {
	if h != nil {
		fill(&h.Path, "/")
		fill(&h.Scheme, SchemeHTTP)
	}
}
