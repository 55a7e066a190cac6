package plan

import (
	"testing"
	"time"

	"sandboxer/desired"
	"sandboxer/observed"
)

func TestPlanScores(t *testing.T) {
	wrong := func(in *Input) { in.Observed.Scores[0].Value = 0 }
	why := "process 4711 of the sandbox had the OOM score 0 and not 200 (declared)"
	set := func(reason string) []Action {
		return []Action{{Verb: SetOOMScore, Sandbox: "box", Sentry: sentry, Class: classInPlace, Reason: reason}}
	}
	denied := []Condition{{OOMScoreDenied, "WriteRefused", "permission denied"}}
	deny := func(in *Input) {
		in.Memory.ScoreDenied, in.Memory.ScoreDeniedFor = "permission denied", in.Desired.Scores
		in.Memory.ScoreRetry = t0.Add(time.Minute)
	}
	// The kernel permits no score below 0, and −500 is declared.
	lowest := func(in *Input) {
		redeclare(in, func(s *desired.Sandbox) { s.Spec.Containers[0].OOMScoreAdj = new(-500) })
		in.Memory.SpecHash = in.Desired.WorkHash
		deny(in)
		for i := range in.Observed.Scores {
			in.Observed.Scores[i].Value = 0
		}
	}
	run(t, []row{
		{name: "score drift: sentry", mutate: wrong, actions: set(why)},
		{
			name: "score drift: below the sentry",
			mutate: func(in *Input) {
				in.Observed.Scores = append(in.Observed.Scores, observed.Score{PID: 9, Value: 1})
			},
			actions: set("process 9 of the sandbox had the OOM score 1 and not 200 (declared)"),
		},
		{
			name:    "score drift: gofer",
			mutate:  func(in *Input) { in.Observed.Scores[1].Value = 0 },
			actions: set(`process 4710 of the gofer of container "app" had the OOM score 0 and not 200 (declared)`),
		},
		{
			name: "score unset: back to the original",
			mutate: func(in *Input) {
				redeclare(in, func(s *desired.Sandbox) { s.Spec.Containers[0].OOMScoreAdj = nil })
				in.Memory.SpecHash = in.Desired.WorkHash
				in.Observed.Record.OriginalOOMScoreAdj = 5
			},
			actions: set("process 4711 of the sandbox had the OOM score 200 and not 5 (what it had to begin with, as none is declared)"),
		},
		{
			name: "score declared 0 is not unset",
			mutate: func(in *Input) {
				redeclare(in, func(s *desired.Sandbox) { s.Spec.Containers[0].OOMScoreAdj = new(0) })
				in.Memory.SpecHash = in.Desired.WorkHash
				in.Observed.Record.OriginalOOMScoreAdj = 5
				in.Observed.Scores = in.Observed.Scores[:1]
				in.Observed.Scores[0].Value = 5
			},
			actions: set("process 4711 of the sandbox had the OOM score 5 and not 0 (declared)"),
		},
		{
			name: "score of a gofer that leaves: left alone",
			mutate: func(in *Input) {
				in.Observed.Scores = append(in.Observed.Scores, observed.Score{PID: 9, Container: "old", Value: 77})
			},
		},
		{
			name:       "score denied: rests with the lowest that is permitted",
			mutate:     lowest,
			again:      time.Minute,
			conditions: denied,
		},
		{
			name:       "score denied: one that is nearer yet is no worse",
			mutate:     func(in *Input) { lowest(in); in.Observed.Scores[0].Value = -100 },
			again:      time.Minute,
			conditions: denied,
		},
		{
			name:       "score denied: drift above it is put back all the same",
			mutate:     func(in *Input) { lowest(in); in.Observed.Scores[0].Value = 1000 },
			actions:    set("process 4711 of the sandbox had the OOM score 1000 and not -500 (declared)"),
			again:      time.Minute,
			conditions: denied,
		},
		{
			name:       "score denied: what was not refused is put right all the same",
			mutate:     func(in *Input) { lowest(in); in.Observed.Scores[2].Value = 33 },
			actions:    set(`process 4712 of the gofer of container "web" had the OOM score 33 and not 0 (what it had to begin with, as none is declared)`),
			again:      time.Minute,
			conditions: denied,
		},
		{
			name:       "score denied: tried again after a minute",
			mutate:     func(in *Input) { lowest(in); in.Memory.ScoreRetry = t0 },
			actions:    set("process 4711 of the sandbox had the OOM score 0 and not -500 (declared)"),
			conditions: denied,
		},
		{
			name:    "score denied, another declared: tried at once",
			mutate:  func(in *Input) { wrong(in); deny(in); in.Memory.ScoreDeniedFor = "sandbox=1" },
			actions: set(why),
		},
		{
			name:   "score denied, right by now: forgotten",
			mutate: deny,
			memory: func(m *Memory) { m.ScoreDenied, m.ScoreDeniedFor, m.ScoreRetry = "", "", time.Time{} },
		},
		{
			name: "score is set while a changed container has time to end",
			mutate: func(in *Input) {
				redeclare(in, func(s *desired.Sandbox) { s.Spec.Containers[0].Args = []string{"new"} })
				changedApp(&in.Memory)
				asked(false, "app")(&in.Memory)
				wrong(in)
			},
			actions: set(why),
			again:   30 * time.Second,
		},
		{
			name: "starts come before scores",
			mutate: func(in *Input) {
				wrong(in)
				in.Observed.Containers = in.Observed.Containers[:1]
				recall(&in.Memory, "web", func(c *ContainerMemory) { c.Live = "" })
			},
			actions: []Action{start("web", "", `first start of container "web"`)},
		},
	})
}
