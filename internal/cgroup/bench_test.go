package cgroup

import (
	"strconv"
	"testing"
)

func BenchmarkCreateDelete(b *testing.B) {
	h := detect(b)
	top := parent(b, h)
	i := 0
	for b.Loop() {
		c := create(b, h, top+"/"+strconv.Itoa(i), Limits{MemoryBytes: 64 * mib, CPUQuota: 0.5})
		if err := c.Delete(b.Context()); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

func BenchmarkSet(b *testing.B) {
	h := detect(b)
	c := create(b, h, parent(b, h), Limits{})
	for b.Loop() {
		if err := c.Set(Limits{MemoryBytes: 64 * mib, CPUQuota: 0.5}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkProcs(b *testing.B) {
	h := detect(b)
	c := create(b, h, parent(b, h), Limits{})
	for b.Loop() {
		if _, err := c.Procs(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOOMKills(b *testing.B) {
	h := detect(b)
	c := create(b, h, parent(b, h), Limits{})
	for b.Loop() {
		if _, err := c.OOMKills(); err != nil {
			b.Fatal(err)
		}
	}
}
