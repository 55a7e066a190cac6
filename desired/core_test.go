package desired

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestDecide(t *testing.T) {
	four := world{"a.yaml": doc("a", 1), "b.yaml": doc("b", 1), "c.yaml": doc("c", 1), "d.yaml": doc("d", 1)}
	none := world{}
	// Folders in a folder of their own, so that no removal touches another's.
	spread := world{"1/a.yaml": doc("a", 1), "2/b.yaml": doc("b", 1), "3/c.yaml": doc("c", 1), "4/d.yaml": doc("d", 1)}
	web := world{"w.yaml": doc("web", 1)}
	both := world{"w.yaml": doc("web", 1) + doc("db", 1)}
	rows := []struct {
		name    string
		moments []moment
	}{
		{"new and changed documents do not wait", []moment{
			{at: 0, world: web, want: "web@1"},
			{at: 1, world: world{"w.yaml": doc("web", 2) + doc("db", 1)}, want: "db@1 web@2"},
		}},
		{"a file that is gone counts after the settle time", []moment{
			{at: 0, world: web, want: "web@1"},
			{at: 1, world: none, want: "web@1(due 11) wake 11"},
			{at: 10, world: none, want: "web@1(due 11) wake 11"},
			{at: 11, world: none, want: ""},
		}},
		{"a file that comes back in time was never gone", []moment{
			{at: 0, world: web, want: "web@1"},
			{at: 1, world: none, want: "web@1(due 11) wake 11"},
			{at: 10, world: web, want: "web@1"},
			{at: 12, world: none, want: "web@1(due 22) wake 22"},
		}},
		{"a folder that changes starts the settle time anew", []moment{
			{at: 0, world: web, want: "web@1"},
			{at: 1, world: none, want: "web@1(due 11) wake 11"},
			{at: 10, world: world{"x.yaml": doc("x", 1)}, want: "web@1(due 20) x@1 wake 20"},
			{at: 11, world: world{"x.yaml": doc("x", 1)}, want: "web@1(due 20) x@1 wake 20"},
			{at: 20, world: world{"x.yaml": doc("x", 1)}, want: "x@1"},
		}},
		{"another folder that changes does not", []moment{
			{at: 0, world: world{"s/w.yaml": doc("web", 1), "s/k.yaml": doc("k", 1)}, want: "k@1 web@1"},
			{at: 1, world: world{"s/k.yaml": doc("k", 1)}, want: "k@1 web@1(due 11) wake 11"},
			{at: 10, world: world{"s/k.yaml": doc("k", 1), "x.yaml": doc("x", 1)}, want: "k@1 web@1(due 11) x@1 wake 11"},
			{at: 11, world: world{"s/k.yaml": doc("k", 1), "x.yaml": doc("x", 1)}, want: "k@1 x@1"},
		}},
		{"a folder that is gone with its files", []moment{
			{at: 0, world: world{"s/w.yaml": doc("web", 1)}, want: "web@1"},
			{at: 1, world: none, want: "web@1(due 11) wake 11"},
			{at: 11, world: none, want: ""},
		}},
		{"a document gone from a file that parses", []moment{
			{at: 0, world: both, want: "db@1 web@1"},
			{at: 1, world: web, want: "db@1(due 11) web@1 wake 11"},
			{at: 5, world: world{"w.yaml": doc("web", 2)}, want: "db@1(due 15) web@2 wake 15"},
			{at: 15, world: world{"w.yaml": doc("web", 2)}, want: "web@2"},
		}},
		{"a rejected document changes nothing", []moment{
			{at: 0, world: web, want: "web@1"},
			{at: 1, world: world{"w.yaml": broken}, want: "web@1 !w.yaml=web"},
			{at: 999, world: world{"w.yaml": broken}, want: "web@1 !w.yaml=web"},
			{at: 1000, world: none, want: "web@1(due 1010) wake 1010"},
		}},
		{"a rejected document that bears its name", []moment{
			{at: 0, world: web, want: "web@1"},
			{at: 1, world: world{"w.yaml": strings.Replace(doc("web", 2), "bundle", "bndle", 1)}, want: "web@1 !w.yaml=web"},
		}},
		{"nothing is removed while its file holds a rejected document", []moment{
			{at: 0, world: both, want: "db@1 web@1"},
			{at: 1, world: world{"w.yaml": doc("web", 2) + broken}, want: "db@1 web@2 !w.yaml=db"},
			{at: 50, world: world{"w.yaml": broken}, want: "db@1 web@2 !w.yaml"},
			{at: 60, world: world{"w.yaml": doc("web", 3)}, want: "db@1(due 70) web@3 wake 70"},
			{at: 65, world: world{"w.yaml": doc("web", 3) + broken}, want: "db@1 web@3 !w.yaml=db"},
			{at: 90, world: world{"w.yaml": doc("web", 3)}, want: "db@1(due 100) web@3 wake 100"},
			{at: 100, world: world{"w.yaml": doc("web", 3)}, want: "web@3"},
		}},
		{"a file that is refused keeps what it declared", []moment{
			{at: 0, world: web, want: "web@1"},
			{at: 1, world: world{"w.yaml": "refused"}, want: "web@1 !w.yaml=web"},
			{at: 99, world: world{"w.yaml": "refused"}, want: "web@1 !w.yaml=web"},
		}},
		{"an empty file removes nothing and is reported when it stays so", []moment{
			{at: 0, world: web, want: "web@1"},
			{at: 1, world: world{"w.yaml": "# nothing\n"}, want: "web@1 wake 11"},
			{at: 11, world: world{"w.yaml": "# nothing\n"}, want: "web@1 !w.yaml=web"},
			{at: 99, world: world{"w.yaml": "# nothing\n"}, want: "web@1 !w.yaml=web"},
			{at: 100, world: none, want: "web@1(due 110) wake 110"},
			{at: 110, world: none, want: ""},
		}},
		{"blocked: nothing is gone", []moment{
			{at: 0, world: web, want: "web@1"},
			{at: 1, world: none, blocked: true, want: "web@1 blocked"},
			{at: 99, world: none, blocked: true, want: "web@1 blocked"},
			{at: 100, world: none, want: "web@1(due 110) wake 110"},
			{at: 105, world: none, blocked: true, want: "web@1 blocked"},
			{at: 120, world: none, want: "web@1(due 130) wake 130"},
		}},
		{"a name in two files: what ran goes on", []moment{
			{at: 0, world: web, want: "web@1"},
			{at: 1, world: web.with("x.yaml", doc("web", 2)), want: "web@1 !w.yaml=web !x.yaml=web"},
			{at: 99, world: web.with("x.yaml", doc("web", 2)), want: "web@1 !w.yaml=web !x.yaml=web"},
			{at: 100, world: world{"x.yaml": doc("web", 2)}, want: "web@2"},
		}},
		{"a new name in two files: neither", []moment{
			{at: 0, world: web.with("x.yaml", doc("web", 2)), want: "!w.yaml=web !x.yaml=web"},
			{at: 1, world: web, want: "web@1"},
		}},
		{"a name twice in one file", []moment{
			{at: 0, world: world{"w.yaml": doc("web", 1) + doc("web", 2)}, want: "!w.yaml=web !w.yaml=web"},
		}},
		{"a duplicate is a rejected document of its file", []moment{
			{at: 0, world: both, want: "db@1 web@1"},
			{at: 1, world: web.with("x.yaml", doc("web", 2)), want: "db@1 web@1 !w.yaml=web !x.yaml=web"},
			{at: 99, world: web.with("x.yaml", doc("web", 2)), want: "db@1 web@1 !w.yaml=web !x.yaml=web"},
			{at: 100, world: web, want: "db@1(due 110) web@1 wake 110"},
		}},
		{"a rejected document claims its name too", []moment{
			{at: 0, world: web, want: "web@1"},
			{at: 1, world: world{"w.yaml": strings.Replace(doc("web", 1), "bundle", "bndle", 1), "x.yaml": doc("web", 2)},
				want: "web@1 !w.yaml=web !w.yaml=web !x.yaml=web"},
		}},
		{"a document that moves is not removed", []moment{
			{at: 0, world: web, want: "web@1"},
			{at: 1, world: world{"x.yaml": doc("web", 1)}, want: "web@1"},
			{at: 99, world: world{"x.yaml": doc("web", 1)}, want: "web@1"},
		}},
		{"the guard holds more than half of four", []moment{
			{at: 0, world: four, want: "a@1 b@1 c@1 d@1"},
			{at: 1, world: four.with("a.yaml", "").with("b.yaml", "").with("c.yaml", ""), want: "a@1(due 11) b@1(due 11) c@1(due 11) d@1 wake 11"},
			{at: 11, world: four.with("a.yaml", "").with("b.yaml", "").with("c.yaml", ""), want: "a@1(held) b@1(held) c@1(held) d@1"},
			{at: 999, world: four.with("a.yaml", "").with("b.yaml", "").with("c.yaml", ""), want: "a@1(held) b@1(held) c@1(held) d@1"},
			// Some that are back release no other; all that are back are as before.
			{at: 1000, world: four.with("a.yaml", ""), want: "a@1(held) b@1 c@1 d@1"},
			{at: 2000, world: four.with("a.yaml", ""), want: "a@1(held) b@1 c@1 d@1"},
			{at: 2001, world: four, want: "a@1 b@1 c@1 d@1"},
		}},
		{"the guard lets exactly half go", []moment{
			{at: 0, world: four, want: "a@1 b@1 c@1 d@1"},
			{at: 1, world: four.with("a.yaml", "").with("b.yaml", ""), want: "a@1(due 11) b@1(due 11) c@1 d@1 wake 11"},
			{at: 11, world: four.with("a.yaml", "").with("b.yaml", ""), want: "c@1 d@1"},
		}},
		{"the guard counts the removals of the last 10 s", []moment{
			{at: 0, world: four, want: "a@1 b@1 c@1 d@1"},
			{at: 1, world: four.with("a.yaml", "").with("b.yaml", ""), want: "a@1(due 11) b@1(due 11) c@1 d@1 wake 11"},
			{at: 11, world: four.with("a.yaml", "").with("b.yaml", ""), want: "c@1 d@1"},
			{at: 20, world: world{"d.yaml": doc("d", 1)}, want: "c@1(due 30) d@1 wake 30"},
			{at: 30, world: world{"d.yaml": doc("d", 1)}, want: "c@1(held) d@1"},
			{at: 300, world: world{"d.yaml": doc("d", 1)}, want: "c@1(held) d@1"},
			{at: 301, world: world{"d.yaml": doc("d", 1)}, confirm: []string{"c"}, want: "d@1"},
		}},
		{"older removals do not count", []moment{
			{at: 0, world: four, want: "a@1 b@1 c@1 d@1"},
			{at: 1, world: four.with("a.yaml", "").with("b.yaml", ""), want: "a@1(due 11) b@1(due 11) c@1 d@1 wake 11"},
			{at: 11, world: four.with("a.yaml", "").with("b.yaml", ""), want: "c@1 d@1"},
			{at: 101, world: world{"d.yaml": doc("d", 1)}, want: "c@1(due 111) d@1 wake 111"},
			{at: 111, world: world{"d.yaml": doc("d", 1)}, want: "d@1"},
		}},
		{"the guard counts those that have not settled", []moment{
			{at: 0, world: four, want: "a@1 b@1 c@1 d@1"},
			{at: 1, world: world{"b.yaml": doc("b", 1), "c.yaml": doc("c", 1), "d.yaml": doc("d", 1)}, want: "a@1(due 11) b@1 c@1 d@1 wake 11"},
			{at: 11, world: world{"d.yaml": doc("d", 1)}, want: "a@1(due 21) b@1(due 21) c@1(due 21) d@1 wake 21"},
			{at: 21, world: world{"d.yaml": doc("d", 1)}, want: "a@1(held) b@1(held) c@1(held) d@1"},
		}},
		{"the guard holds at once those that wait with one that is due", []moment{
			{at: 0, world: spread, want: "a@1 b@1 c@1 d@1"},
			{at: 1, world: spread.with("1/a.yaml", ""), want: "a@1(due 11) b@1 c@1 d@1 wake 11"},
			{at: 5, world: world{"4/d.yaml": doc("d", 1)}, want: "a@1(due 11) b@1(due 15) c@1(due 15) d@1 wake 11"},
			{at: 11, world: world{"4/d.yaml": doc("d", 1)}, want: "a@1(held) b@1(held) c@1(held) d@1"},
			// One that goes later may yet come back before it is due.
			{at: 20, world: none, want: "a@1(held) b@1(held) c@1(held) d@1(due 30) wake 30"},
			{at: 30, world: none, want: "a@1(held) b@1(held) c@1(held) d@1(held)"},
		}},
		{"one after another, made and removed, is no mass deletion", []moment{
			{at: 0, world: world{"k.yaml": doc("k", 1)}, want: "k@1"},
			{at: 1, world: world{"k.yaml": doc("k", 1), "1/a.yaml": doc("a", 1)}, want: "a@1 k@1"},
			{at: 2, world: world{"k.yaml": doc("k", 1)}, want: "a@1(due 12) k@1 wake 12"},
			{at: 12, world: world{"k.yaml": doc("k", 1)}, want: "k@1"},
			{at: 13, world: world{"k.yaml": doc("k", 1), "2/b.yaml": doc("b", 1)}, want: "b@1 k@1"},
			{at: 14, world: world{"k.yaml": doc("k", 1)}, want: "b@1(due 24) k@1 wake 24"},
			{at: 24, world: world{"k.yaml": doc("k", 1)}, want: "k@1"},
			{at: 25, world: world{"k.yaml": doc("k", 1), "3/c.yaml": doc("c", 1)}, want: "c@1 k@1"},
			{at: 26, world: world{"k.yaml": doc("k", 1)}, want: "c@1(due 36) k@1 wake 36"},
			{at: 36, world: world{"k.yaml": doc("k", 1)}, want: "k@1"},
		}},
		{"nor is it where the next is there before the last has settled", []moment{
			{at: 0, world: world{"k.yaml": doc("k", 1), "1/a.yaml": doc("a", 1)}, want: "a@1 k@1"},
			{at: 1, world: world{"k.yaml": doc("k", 1)}, want: "a@1(due 11) k@1 wake 11"},
			{at: 2, world: world{"k.yaml": doc("k", 1), "2/b.yaml": doc("b", 1)}, want: "a@1(due 11) b@1 k@1 wake 11"},
			{at: 3, world: world{"k.yaml": doc("k", 1)}, want: "a@1(due 11) b@1(due 13) k@1 wake 11"},
			{at: 4, world: world{"k.yaml": doc("k", 1), "3/c.yaml": doc("c", 1)}, want: "a@1(due 11) b@1(due 13) c@1 k@1 wake 11"},
			{at: 5, world: world{"k.yaml": doc("k", 1)}, want: "a@1(due 11) b@1(due 13) c@1(due 15) k@1 wake 11"},
			{at: 15, world: world{"k.yaml": doc("k", 1)}, want: "k@1"},
		}},
		{"nor is it where each starts the settle time of the last anew", []moment{
			{at: 0, world: world{"k.yaml": doc("k", 1), "a.yaml": doc("a", 1)}, want: "a@1 k@1"},
			{at: 1, world: world{"k.yaml": doc("k", 1)}, want: "a@1(due 11) k@1 wake 11"},
			{at: 2, world: world{"k.yaml": doc("k", 1), "b.yaml": doc("b", 1)}, want: "a@1(due 12) b@1 k@1 wake 12"},
			{at: 3, world: world{"k.yaml": doc("k", 1)}, want: "a@1(due 13) b@1(due 13) k@1 wake 13"},
			{at: 4, world: world{"k.yaml": doc("k", 1), "c.yaml": doc("c", 1)}, want: "a@1(due 14) b@1(due 14) c@1 k@1 wake 14"},
			{at: 5, world: world{"k.yaml": doc("k", 1)}, want: "a@1(due 15) b@1(due 15) c@1(due 15) k@1 wake 15"},
			{at: 15, world: world{"k.yaml": doc("k", 1)}, want: "k@1"},
		}},
		{"some of those that are held may be confirmed", []moment{
			{at: 0, world: four, want: "a@1 b@1 c@1 d@1"},
			{at: 1, world: none, want: "a@1(due 11) b@1(due 11) c@1(due 11) d@1(due 11) wake 11"},
			{at: 11, world: none, want: "a@1(held) b@1(held) c@1(held) d@1(held)"},
			{at: 12, world: none, confirm: []string{"b", "d"}, want: "a@1(held) c@1(held)"},
			{at: 999, world: none, want: "a@1(held) c@1(held)"},
			{at: 1000, world: none, confirm: []string{"a"}, want: "c@1(held)"},
		}},
		{"a folder that is gone is held where it held most, not where it held few", []moment{
			{at: 0, world: four.with("s/e.yaml", doc("e", 1)), want: "a@1 b@1 c@1 d@1 e@1"},
			{at: 1, world: four, want: "a@1 b@1 c@1 d@1 e@1(due 11) wake 11"},
			{at: 11, world: four, want: "a@1 b@1 c@1 d@1"},
			{at: 200, world: world{"s/e.yaml": doc("e", 1)}, want: "a@1(due 210) b@1(due 210) c@1(due 210) d@1(due 210) e@1 wake 210"},
			{at: 210, world: world{"s/e.yaml": doc("e", 1)}, want: "a@1(held) b@1(held) c@1(held) d@1(held) e@1"},
		}},
		{"a file of many whose documents all go but one", []moment{
			{at: 0, world: world{"w.yaml": doc("a", 1) + doc("b", 1) + doc("c", 1) + doc("d", 1)}, want: "a@1 b@1 c@1 d@1"},
			{at: 1, world: world{"w.yaml": doc("d", 1)}, want: "a@1(due 11) b@1(due 11) c@1(due 11) d@1 wake 11"},
			{at: 11, world: world{"w.yaml": doc("d", 1)}, want: "a@1(held) b@1(held) c@1(held) d@1"},
		}},
		{"three sandboxes are not guarded", []moment{
			{at: 0, world: four.with("d.yaml", ""), want: "a@1 b@1 c@1"},
			{at: 1, world: none, want: "a@1(due 11) b@1(due 11) c@1(due 11) wake 11"},
			{at: 11, world: none, want: ""},
		}},
		{"confirmed removals are carried out, later ones are not", []moment{
			{at: 0, world: four.with("e.yaml", doc("e", 1)), want: "a@1 b@1 c@1 d@1 e@1"},
			{at: 1, world: world{"d.yaml": doc("d", 1), "e.yaml": doc("e", 1)}, want: "a@1(due 11) b@1(due 11) c@1(due 11) d@1 e@1 wake 11"},
			{at: 11, world: world{"d.yaml": doc("d", 1), "e.yaml": doc("e", 1)}, want: "a@1(held) b@1(held) c@1(held) d@1 e@1"},
			{at: 20, world: world{"e.yaml": doc("e", 1)}, confirm: []string{"a", "b", "c"}, want: "a@1(due 30) b@1(due 30) c@1(due 30) d@1(due 30) e@1 wake 30"},
			{at: 30, world: world{"e.yaml": doc("e", 1)}, want: "d@1(held) e@1"},
		}},
		{"what was confirmed does not count for what comes next", []moment{
			{at: 0, world: four.with("e.yaml", doc("e", 1)), want: "a@1 b@1 c@1 d@1 e@1"},
			{at: 1, world: world{"d.yaml": doc("d", 1), "e.yaml": doc("e", 1)}, want: "a@1(due 11) b@1(due 11) c@1(due 11) d@1 e@1 wake 11"},
			{at: 11, world: world{"d.yaml": doc("d", 1), "e.yaml": doc("e", 1)}, want: "a@1(held) b@1(held) c@1(held) d@1 e@1"},
			{at: 12, world: world{"d.yaml": doc("d", 1), "e.yaml": doc("e", 1)}, confirm: []string{"a", "b", "c"}, want: "d@1 e@1"},
			{at: 15, world: world{"e.yaml": doc("e", 1)}, want: "d@1(due 25) e@1 wake 25"},
			{at: 25, world: world{"e.yaml": doc("e", 1)}, want: "e@1"},
		}},
		{"a confirmation is for what is held, once", []moment{
			{at: 0, world: four, confirm: []string{"a"}, want: "a@1 b@1 c@1 d@1"},
			{at: 1, world: none, confirm: []string{"a"}, want: "a@1(due 11) b@1(due 11) c@1(due 11) d@1(due 11) wake 11"},
			{at: 11, world: none, want: "a@1(held) b@1(held) c@1(held) d@1(held)"},
		}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			start := time.Unix(1000, 0)
			var st state
			for _, m := range row.moments {
				sc := m.world.look(start.Add(time.Duration(m.at) * 100 * time.Millisecond))
				if m.blocked {
					sc.blocked = []string{"/m: cannot be read"}
				}
				sc.confirmed = map[string]bool{}
				for _, name := range m.confirm {
					sc.confirmed[name] = true
				}
				o := decide(rules{settle: time.Second, guard: 0.5}, st, sc)
				if got := show(o, start); got != m.want {
					t.Fatalf("at %d:\n got %q\nwant %q\nproblems %v", m.at, got, m.want, o.set.Problems)
				}
				st = o.state
			}
		})
	}
}

func TestDecideNamesBothFiles(t *testing.T) {
	w := world{"a.yaml": doc("web", 1), "s/b.yaml": "\n" + doc("web", 1)}
	o := decide(rules{}, state{}, w.look(time.Unix(1, 0)))
	var got []string
	for _, p := range o.set.Problems {
		got = append(got, p.String())
	}
	want := []string{
		`a.yaml:4: metadata.name: "web" is declared more than once: also in s/b.yaml:5; none of them counts until one is left, and what ran goes on`,
		`s/b.yaml:5: metadata.name: "web" is declared more than once: also in a.yaml:4; none of them counts until one is left, and what ran goes on`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// An unchanged world gives the very same pointers, so that nobody is woken.
func TestDecideKeepsPointers(t *testing.T) {
	w := world{"w.yaml": doc("web", 1) + doc("db", 1), "x.yaml": broken}
	first := decide(rules{settle: time.Second, guard: 0.5}, state{}, w.look(time.Unix(1, 0)))
	second := decide(rules{settle: time.Second, guard: 0.5}, first.state, w.look(time.Unix(2, 0)))
	if names, differs := changes(first.set, second.set); differs || len(names) > 0 {
		t.Errorf("an unchanged world changed %v", names)
	}
	w["w.yaml"] = doc("web", 1) + doc("db", 2)
	third := decide(rules{settle: time.Second, guard: 0.5}, second.state, w.look(time.Unix(3, 0)))
	if names, differs := changes(second.set, third.set); !differs || !slices.Equal(names, []string{"db"}) {
		t.Errorf("changed %v, want db", names)
	}
}

func TestBeyond(t *testing.T) {
	for _, r := range []struct {
		guard           float64
		removals, total int
		want            bool
	}{
		{0.5, 2, 4, false}, {0.5, 3, 4, true}, {0.5, 3, 3, false}, {0.5, 3, 5, true}, {0.5, 25, 50, false}, {0.5, 26, 50, true},
		{1, 4, 4, false}, {1, 100, 100, false}, {0, 1, 4, true}, {0, 1, 3, false}, {0.29, 29, 100, false}, {0.29, 30, 100, true},
	} {
		if got := (rules{guard: r.guard}).beyond(r.removals, r.total); got != r.want {
			t.Errorf("guard %v, %d of %d: %v", r.guard, r.removals, r.total, got)
		}
	}
}

// A name that is declared twice is told of where it stands, and a document that does
// not parse by what is wrong with it alone: its name is a guess.
func TestDuplicatesAreToldOfAtTheirNames(t *testing.T) {
	dir := t.TempDir()
	text := func(rest string) string {
		return "apiVersion: sandboxer/v1\nkind: Sandbox\nmetadata:\n  name: web\n  labels: {a: b}\nspec:\n" + rest
	}
	good := "  containers: [{name: a, bundle: /b}]\n"
	for file, data := range map[string]string{"a.yaml": text(good), "b.yaml": "---\n" + text(good), "torn.yaml": text("  containers: [{\n")} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, p := range ReadDir([]string{dir}, nil).Problems {
		got = append(got, strings.ReplaceAll(p.String(), dir+"/", ""))
	}
	want := []string{"a.yaml:4: metadata.name: ", "b.yaml:5: metadata.name: ", "torn.yaml:"}
	if len(got) != len(want) {
		t.Fatalf("%d problems: %q", len(got), got)
	}
	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) {
			t.Errorf("%q, want %q…", got[i], want[i])
		}
	}
	if !strings.Contains(got[0], "also in b.yaml:5, torn.yaml:") || !strings.Contains(got[2], "not valid YAML") {
		t.Errorf("%q", got)
	}
}
