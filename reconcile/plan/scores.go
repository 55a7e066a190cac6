package plan

import (
	"fmt"
	"math"
	"time"

	"sandboxer/observed"
)

// limits plans the cgroup limits where others are in force, and reports
// whether it did. A refusal is a condition, not an obstacle.
func (p *planner) limits() bool {
	if p.o.Record.LimitsHash == p.d.LimitsHash {
		p.mem.LimitsDenied, p.mem.LimitsDeniedFor, p.mem.LimitsRetry = "", "", time.Time{}
		return false
	}
	if p.mem.LimitsDeniedFor == p.d.LimitsHash {
		p.condition(LimitsDenied, "WriteRefused", "%s", p.mem.LimitsDenied)
		if p.now.Before(p.mem.LimitsRetry) {
			p.lookAt(p.mem.LimitsRetry)
			return false
		}
	}
	p.act(Action{Verb: SetLimits, Class: classInPlace, Reason: fmt.Sprintf(
		"the limits in force (%s) were not those declared (%s)", p.o.Record.LimitsHash, p.d.LimitsHash)})
	return true
}

// scores plans the declared OOM scores where a process has another, unless
// they were refused a short while ago.
func (p *planner) scores() {
	off := p.wrongScore(math.MinInt)
	if off == nil {
		p.forgetScoreDenied()
		return
	}
	if p.mem.ScoreDeniedFor == p.d.Scores {
		p.condition(OOMScoreDenied, "WriteRefused", "%s", p.mem.ScoreDenied)
		if p.now.Before(p.mem.ScoreRetry) {
			p.lookAt(p.mem.ScoreRetry)
			// What was not refused is kept true meanwhile.
			if off = p.wrongScore(p.mem.ScoreLowest); off == nil {
				return
			}
		}
	}
	what := "the sandbox"
	if c := p.find(off.Container); c != nil {
		what = fmt.Sprintf("the gofer of container %q", off.Container)
		if off.PID == c.Keeper.PID {
			what = fmt.Sprintf("the keeper of container %q", off.Container)
		}
	}
	want, set := p.wantedScore(off)
	whence := "declared"
	if !set {
		whence = "what it had to begin with, as none is declared"
	}
	p.act(Action{Verb: SetOOMScore, Class: classInPlace, InitDone: initDone(p.d, p.mem), Reason: fmt.Sprintf(
		"process %d of %s had the OOM score %d and not %d (%s)", off.PID, what, off.Value, want, whence)})
}

func (p *planner) forgetScoreDenied() {
	p.mem.ScoreDenied, p.mem.ScoreDeniedFor, p.mem.ScoreRetry, p.mem.ScoreLowest = "", "", time.Time{}, 0
}

// wrongScore gives the first process whose score is not as declared or, where
// less than lowest is declared, not that nor anything between the two; nil
// where there is none. A gofer that is about to leave with its container has
// no declared score.
func (p *planner) wrongScore(lowest int) *observed.Score {
	for i := range p.o.Scores {
		s := &p.o.Scores[i]
		if s.Container != "" {
			if c, _ := p.d.Container(s.Container); c == nil {
				continue
			}
		}
		if want, _ := p.wantedScore(s); s.Value < want || s.Value > max(want, lowest) {
			return s
		}
	}
	return nil
}

// wantedScore is the score that s's process should have: the sandbox's for
// the sentry and all below it, its container's for a gofer; set is false
// where none is declared, and it is the one that the sandbox began with.
func (p *planner) wantedScore(s *observed.Score) (score int, set bool) {
	if s.Container == "" {
		if score, set := p.d.Score(initDone(p.d, p.mem)); set {
			return score, true
		}
	} else if c, _ := p.d.Container(s.Container); c != nil && c.OOMScoreAdj != nil {
		return *c.OOMScoreAdj, true
	}
	return p.o.Record.OriginalOOMScoreAdj, false
}
