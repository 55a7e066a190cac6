package reconcile

import "testing"

func BenchmarkPlanUnchanged(b *testing.B) {
	in := settled(newDeclared())
	if r := Plan(in); len(r.Actions) > 0 || !r.Memory.Equal(in.Memory) {
		b.Fatalf("not unchanged: %+v", r)
	}
	b.ReportAllocs()
	for b.Loop() {
		Plan(in)
	}
}
