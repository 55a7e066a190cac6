package desired

import (
	"path/filepath"
	"slices"
	"testing"
)

func TestReadDir(t *testing.T) {
	r := &rig{t: t, root: t.TempDir()}
	r.mkdir("m/s")
	r.put("m/w.yaml", doc("web", 1))
	r.put("m/s/bad.yaml", broken)
	r.put("m/s/empty.yaml", "# nothing\n")
	r.put("other.txt", doc("db", 1))
	r.put("twice.yaml", doc("db", 2))
	t.Chdir(r.root)
	for _, row := range []struct {
		paths, want []string
	}{
		{[]string{"m"}, []string{"!m/s/bad.yaml", "!m/s/empty.yaml", "web@1"}},
		{[]string{"./m/w.yaml", "other.txt"}, []string{"db@1", "web@1"}},
		{[]string{"m/w.yaml", "m"}, []string{"!m/s/bad.yaml", "!m/s/empty.yaml", "web@1"}},
		{[]string{"other.txt", "twice.yaml"}, []string{"!other.txt", "!twice.yaml"}},
		{[]string{"none.yaml", "other.txt"}, []string{"!none.yaml", "blocked", "db@1"}},
		{[]string{filepath.Join(r.root, "m/w.yaml")}, []string{"web@1"}},
		{nil, nil},
	} {
		if got := words(ReadDir(row.paths, nil)); !slices.Equal(got, row.want) {
			t.Errorf("%v gives %v, want %v", row.paths, got, row.want)
		}
	}
	wantMessage(t, ReadDir([]string{"m"}, nil).Problems, "m/s/empty.yaml", "holds no document")
	if got := ReadDir([]string{"none.yaml"}, nil).Problems[0].String(); got != "none.yaml: does not exist" {
		t.Errorf("got %q", got)
	}
}
