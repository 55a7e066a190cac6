package main

import "fmt"

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
