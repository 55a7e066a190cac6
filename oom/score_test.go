package oom_test

import (
	"testing"

	"pgregory.net/rapid"

	"sandboxer/oom"
)

func TestScore(t *testing.T) {
	tests := []struct {
		name string
		in   []oom.Declared
		want int
		set  bool
	}{
		{"nothing", nil, 0, false},
		{"unset only", []oom.Declared{{}, {}}, 0, false},
		{"declared zero is not unset", []oom.Declared{{Score: new(0)}, {}}, 0, true},
		{"zero against a higher one", []oom.Declared{{Score: new(500)}, {Score: new(0)}}, 0, true},
		{"positive beside unset", []oom.Declared{{}, {Score: new(300)}}, 300, true},
		{"lowest", []oom.Declared{{Score: new(300)}, {Score: new(-999)}, {Score: new(7)}}, -999, true},
		{"infra is ignored", []oom.Declared{{Score: new(-998), Infra: true}, {Score: new(7)}}, 7, true},
		{"only infra", []oom.Declared{{Score: new(-998), Infra: true}}, 0, false},
		{"finished init is ignored", []oom.Declared{{Score: new(-5), FinishedInit: true}, {Score: new(7)}}, 7, true},
		{"only finished init", []oom.Declared{{Score: new(-5), FinishedInit: true}}, 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, set := oom.Score(tt.in)
			if got != tt.want || set != tt.set {
				t.Errorf("Score = %d, %v; want %d, %v", got, set, tt.want, tt.set)
			}
		})
	}
}

// counted draws a container whose declaration counts.
func counted(t *rapid.T, label string) oom.Declared {
	return oom.Declared{Score: new(rapid.IntRange(-1000, 1000).Draw(t, label))}
}

// neutral draws a container that must have no say.
func neutral(t *rapid.T) oom.Declared {
	score := rapid.IntRange(-1000, 1000).Draw(t, "neutral score")
	return rapid.SampledFrom([]oom.Declared{
		{},
		{Score: &score, Infra: true},
		{Score: &score, FinishedInit: true},
		{Score: &score, Infra: true, FinishedInit: true},
		{Infra: true},
		{FinishedInit: true},
	}).Draw(t, "neutral")
}

func anySet(t *rapid.T) []oom.Declared {
	n := rapid.IntRange(0, 6).Draw(t, "containers")
	var set []oom.Declared
	for range n {
		if rapid.Bool().Draw(t, "counts") {
			set = append(set, counted(t, "score"))
		} else {
			set = append(set, neutral(t))
		}
	}
	return set
}

func TestScoreIgnoresOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		set := anySet(t)
		shuffled := rapid.Permutation(set).Draw(t, "shuffled")
		a, aSet := oom.Score(set)
		b, bSet := oom.Score(shuffled)
		if a != b || aSet != bSet {
			t.Fatalf("%d, %v became %d, %v in another order", a, aSet, b, bSet)
		}
	})
}

func TestScoreNeverRisesWithOneMore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		set := append(anySet(t), counted(t, "first"))
		before, _ := oom.Score(set)
		more := counted(t, "one more")
		after, ok := oom.Score(append(set, more))
		if !ok || after > before || after > *more.Score {
			t.Fatalf("%d became %d, %v when %d was added", before, after, ok, *more.Score)
		}
	})
}

func TestScoreIsOneOfTheDeclared(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		set := anySet(t)
		score, ok := oom.Score(set)
		if !ok {
			for _, d := range set {
				if d.Score != nil && !d.Infra && !d.FinishedInit {
					t.Fatalf("unset although %d is declared", *d.Score)
				}
			}
			return
		}
		for _, d := range set {
			if d.Score != nil && !d.Infra && !d.FinishedInit && *d.Score == score {
				return
			}
		}
		t.Fatalf("%d is declared by none that counts", score)
	})
}

func TestScoreNeutral(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		set := anySet(t)
		before, beforeSet := oom.Score(set)
		with := append([]oom.Declared{neutral(t)}, set...)
		after, afterSet := oom.Score(with)
		if before != after || beforeSet != afterSet {
			t.Fatalf("a neutral container changed %d, %v to %d, %v", before, beforeSet, after, afterSet)
		}
	})
}
