package plan

import "testing"

func BenchmarkPlanUnchanged(b *testing.B) {
	in := settled(newDeclared())
	if r := Decide(in); len(r.Actions) > 0 || !r.Memory.Equal(in.Memory) {
		b.Fatalf("not unchanged: %+v", r)
	}
	b.ReportAllocs()
	for b.Loop() {
		Decide(in)
	}
}
