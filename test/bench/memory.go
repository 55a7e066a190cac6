package main

import (
	"fmt"
	"slices"
)

// memory measures row 7, and without a target what else there is.
func (b *bench) memory(o *ours) error {
	if !b.o.wants(7) {
		return nil
	}
	k, err := classify(o.cmd.Process.Pid)
	if err != nil {
		return err
	}
	if len(k.keepers) != len(k.gofers) {
		return fmt.Errorf("there are %d gofers and %d keepers", len(k.gofers), len(k.keepers))
	}
	helpers, err := pssOfEach(append(k.keepers, k.others))
	if err != nil {
		return err
	}
	var total float64
	for _, mb := range helpers {
		total += mb
	}
	b.report.limit(7, fmt.Sprintf("memory (PSS) of the daemon and its helpers, %d keepers included, with 50 sandboxes", len(k.keepers)),
		"MB", []float64{total}, nil, memoryTarget)
	theirs, err := b.bare.kinds()
	if err != nil {
		return err
	}
	mine, err := pssOfEach(pairUp(k.sentries, k.gofers))
	if err != nil {
		return err
	}
	for i := range mine {
		mine[i] += total / float64(len(mine))
	}
	other, err := pssOfEach(pairUp(theirs.sentries, theirs.gofers))
	if err != nil {
		return err
	}
	b.report.compareIn("MB", 7, "memory (PSS) of one idle sandbox of one container: sentry, stubs, gofer, and its share of daemon and helpers",
		[2][]float64{mine, other}, memoryRatioTarget)
	for _, kind := range []struct {
		name       string
		ours, bare [][]int
	}{
		{"memory (PSS) of one sentry with its stubs", k.sentries, theirs.sentries},
		{"memory (PSS) of one gofer", k.gofers, theirs.gofers},
		{"memory (PSS) of one keeper", k.keepers, nil},
	} {
		mine, err := pssOfEach(kind.ours)
		if err != nil {
			return err
		}
		other, err := pssOfEach(kind.bare)
		if err != nil {
			return err
		}
		b.report.limit(7, kind.name, "MB", mine, other, 0)
	}
	return nil
}

// pairUp gives each sandbox's processes one gofer's. Which is whose does not
// matter where all are alike.
func pairUp(sentries, gofers [][]int) [][]int {
	all := make([][]int, min(len(sentries), len(gofers)))
	for i := range all {
		all[i] = slices.Concat(sentries[i], gofers[i])
	}
	return all
}

func pssOfEach(groups [][]int) ([]float64, error) {
	all := make([]float64, len(groups))
	for i, group := range groups {
		for _, pid := range group {
			mb, err := pss(pid)
			if err != nil {
				return nil, err
			}
			all[i] += mb
		}
	}
	return all, nil
}
