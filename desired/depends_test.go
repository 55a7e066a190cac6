package desired

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// needs is doc with dependencies.
func needs(name string, version int, dependsOn ...string) string {
	return strings.Replace(doc(name, version), "spec: {", "spec: {dependsOn: ["+strings.Join(dependsOn, ", ")+"], ", 1)
}

func TestDecideCycles(t *testing.T) {
	rows := []struct {
		name    string
		moments []moment
	}{
		{"a chain and a diamond", []moment{
			{at: 0, world: world{"w.yaml": needs("a", 1, "b", "c") + needs("b", 1, "d") + needs("c", 1, "d") + doc("d", 1)}, want: "a@1 b@1 c@1 d@1"},
		}},
		{"what is not declared", []moment{
			{at: 0, world: world{"w.yaml": needs("a", 1, "nobody")}, want: "a@1"},
		}},
		{"a new one", []moment{
			{at: 0, world: world{"a.yaml": needs("a", 1, "b"), "b.yaml": needs("b", 1, "a"), "c.yaml": needs("c", 1, "a")}, want: "c@1 !a.yaml=a !b.yaml=b"},
			{at: 1, world: world{"a.yaml": needs("a", 1, "b"), "b.yaml": doc("b", 1), "c.yaml": needs("c", 1, "a")}, want: "a@1 b@1 c@1"},
		}},
		{"itself", []moment{
			{at: 0, world: world{"a.yaml": needs("a", 1, "a")}, want: "!a.yaml=a"},
		}},
		{"a change that makes one has no effect", []moment{
			{at: 0, world: world{"a.yaml": needs("a", 1, "b"), "b.yaml": doc("b", 1)}, want: "a@1 b@1"},
			{at: 1, world: world{"a.yaml": needs("a", 2, "b"), "b.yaml": needs("b", 2, "a")}, want: "a@1 b@1 !a.yaml=a !b.yaml=b"},
			{at: 99, world: world{"a.yaml": needs("a", 2, "b"), "b.yaml": needs("b", 2, "a")}, want: "a@1 b@1 !a.yaml=a !b.yaml=b"},
			{at: 100, world: world{"a.yaml": needs("a", 3, "b"), "b.yaml": doc("b", 3)}, want: "a@3 b@3"},
		}},
		{"what is set back makes another one", []moment{
			{at: 0, world: world{"a.yaml": needs("a", 1, "b"), "b.yaml": doc("b", 1), "c.yaml": doc("c", 1)}, want: "a@1 b@1 c@1"},
			// a and c wait for each other; as it was before, a waits for b, which is to wait for a.
			{at: 1, world: world{"a.yaml": needs("a", 2, "c"), "b.yaml": needs("b", 2, "a"), "c.yaml": needs("c", 2, "a")},
				want: "a@1 b@1 c@1 !a.yaml=a !b.yaml=b !c.yaml=c"},
		}},
		{"one who is about to be removed counts until then", []moment{
			{at: 0, world: world{"a.yaml": needs("a", 1, "b"), "b.yaml": doc("b", 1)}, want: "a@1 b@1"},
			{at: 1, world: world{"b.yaml": needs("b", 2, "a")}, want: "a@1(due 11) b@1 !b.yaml=b wake 11"},
			{at: 11, world: world{"b.yaml": needs("b", 2, "a")}, want: "b@1 !b.yaml=b wake 11"},
			{at: 12, world: world{"b.yaml": needs("b", 2, "a")}, want: "b@2"},
		}},
		{"nothing is removed while its file holds such a document", []moment{
			{at: 0, world: world{"a.yaml": doc("a", 1) + doc("x", 1), "b.yaml": doc("b", 1)}, want: "a@1 b@1 x@1"},
			{at: 1, world: world{"a.yaml": needs("a", 2, "a"), "b.yaml": doc("b", 1)}, want: "a@1 b@1 x@1 !a.yaml=a"},
			{at: 99, world: world{"a.yaml": needs("a", 2, "a"), "b.yaml": doc("b", 1)}, want: "a@1 b@1 x@1 !a.yaml=a"},
		}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			start := time.Unix(1000, 0)
			var st state
			for _, m := range row.moments {
				o := decide(rules{settle: time.Second, guard: 1}, st, m.world.look(start.Add(time.Duration(m.at)*100*time.Millisecond)))
				if got := show(o, start); got != m.want {
					t.Fatalf("at %d:\n got %q\nwant %q\nproblems %v", m.at, got, m.want, o.set.Problems)
				}
				st = o.state
			}
		})
	}
}

func TestCycleIsNamedWithItsPath(t *testing.T) {
	w := world{
		"web.yaml":  "# web\n" + doc("other", 1) + needs("web", 1, "x", "db"),
		"s/db.yaml": "apiVersion: sandboxer/v1\nkind: Sandbox\nmetadata: {name: db}\nspec:\n  dependsOn:\n  - cache\n  - web\n  containers: [{name: a, bundle: /b}]\n",
		"c.yaml":    needs("cache", 1, "web"),
	}
	var got []string
	for _, p := range decide(rules{}, state{}, w.look(time.Unix(1, 0))).set.Problems {
		got = append(got, p.String())
	}
	const rest = "; no document of such a cycle counts, and what ran goes on"
	want := []string{
		`c.yaml:5: spec.dependsOn[0]: it would wait for itself: cache -> web -> db -> cache` + rest,
		`s/db.yaml:7: spec.dependsOn[1]: it would wait for itself: db -> web -> db` + rest,
		`web.yaml:11: spec.dependsOn[1]: it would wait for itself: web -> db -> web` + rest,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Whatever is declared, what is in force has no cycle, nobody is rejected but
// who is in one, and the order of files decides nothing.
func TestPropertyNoCycle(t *testing.T) {
	names := []string{"a", "b", "c", "d", "e"}
	rapid.Check(t, func(t *rapid.T) {
		var st state
		at := time.Unix(1000, 0)
		for range rapid.IntRange(1, 5).Draw(t, "scans") {
			w, declared := world{}, map[string][]string{}
			for _, name := range names {
				if rapid.IntRange(0, 5).Draw(t, "absent") == 0 {
					continue
				}
				declared[name] = rapid.SliceOfNDistinct(rapid.SampledFrom(names), 0, 2, rapid.ID).Draw(t, "needs of "+name)
				w[name+".yaml"] = needs(name, rapid.IntRange(1, 2).Draw(t, "version"), declared[name]...)
			}
			at = at.Add(time.Duration(rapid.IntRange(1, 20).Draw(t, "tenths")) * 100 * time.Millisecond)
			sc := w.look(at)
			o := decide(rules{settle: time.Second, guard: 1}, st, sc)
			sc.files = rapid.Permutation(sc.files).Draw(t, "order")
			if got, want := dump(decide(rules{settle: time.Second, guard: 1}, st, sc)), dump(o); got != want {
				t.Fatalf("in another order:\n%s\nas it was:\n%s", got, want)
			}
			inForce := map[string][]string{}
			for name, s := range o.set.Sandboxes {
				inForce[name] = s.Spec.DependsOn
			}
			for name := range inForce {
				if reaches(inForce, name, name, len(names)) {
					t.Fatalf("%s waits for itself: %v", name, inForce)
				}
			}
			// Any version that was ever in force, or is declared, may have closed it.
			all := maps.Clone(declared)
			for name, e := range st.entries {
				all[name] = slices.Concat(all[name], e.sandbox.Spec.DependsOn)
			}
			for _, p := range o.set.Problems {
				if !reaches(all, p.Name, p.Name, len(names)) {
					t.Fatalf("%s is rejected: %s", p.Name, p)
				}
			}
			for name, dependsOn := range declared {
				rejected := slices.ContainsFunc(o.set.Problems, func(p Problem) bool { return p.Name == name })
				got := o.set.Sandboxes[name]
				if !rejected && (got == nil || fmt.Sprint(got.Spec.DependsOn) != fmt.Sprint(dependsOn)) {
					t.Fatalf("%s is neither in force nor rejected", name)
				}
				if before := st.entries[name].sandbox; rejected && got != before {
					t.Fatalf("%s is rejected and changed from %v to %v", name, before, got)
				}
			}
			st = o.state
		}
	})
}

// reaches says whether there is a way of at most n steps.
func reaches(graph map[string][]string, from, to string, n int) bool {
	return n > 0 && slices.ContainsFunc(graph[from], func(next string) bool { return next == to || reaches(graph, next, to, n-1) })
}
