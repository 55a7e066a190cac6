package test

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// goPackage is what go list says of a package.
type goPackage struct {
	Dir, ImportPath, Doc string
	Imports              []string
	GoFiles              []string
}

func packages(t *testing.T) []goPackage {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=Dir,ImportPath,Doc,Imports,GoFiles", "sandboxer/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	var list []goPackage
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := dec.Decode(&p); err == io.EOF {
			return list
		} else if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
}

// The client alone is nothing but a client: it has none of what sandboxes are
// made of.
func TestClientImports(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("go", "list", "-tags", "client", "-deps", "sandboxer/cmd/sandboxer").Output()
	if err != nil {
		t.Fatal(err)
	}
	for imported := range strings.FieldsSeq(string(out)) {
		own, _ := strings.CutPrefix(imported, "sandboxer/")
		if top := folder(imported); strings.HasPrefix(imported, "gvisor.dev/") || own == "internal/daemon" ||
			imported != own && (top == "actuator" || top == "gofer") {
			t.Errorf("the client has %s", imported)
		}
	}
}

// The loop reaches the host through its interfaces alone.
func TestLoopTouchesNoHost(t *testing.T) {
	t.Parallel()
	for _, imported := range packageOf(t, "sandboxer/reconcile").Imports {
		switch imported {
		case "os", "os/exec", "io", "io/fs", "net", "net/http", "syscall", "log", "log/slog", "math/rand", "math/rand/v2",
			"golang.org/x/sys/unix":
			t.Errorf("it imports %s", imported)
		}
	}
}

// The planner is pure: it has nothing that acts, waits, logs or tells the time.
func TestPlannerIsPure(t *testing.T) {
	t.Parallel()
	p := packageOf(t, "sandboxer/reconcile/plan")
	for _, imported := range p.Imports {
		switch imported {
		case "cmp", "encoding/json", "errors", "fmt", "hash/fnv", "iter", "maps", "math", "reflect", "slices", "strconv", "strings",
			"k8s.io/apimachinery/pkg/api/resource", "sandboxer/desired", "sandboxer/observed", "sandboxer/oom":
		case "time": // for instants that it is given
		default:
			t.Errorf("it imports %s", imported)
		}
	}
	for _, name := range p.GoFiles {
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			of, _ := sel.X.(*ast.Ident)
			switch what := sel.Sel.Name; {
			case of == nil || of.Name != "time":
			case !slices.Contains([]string{"Duration", "Time", "Millisecond", "Second", "Minute", "Hour", "DateTime"}, what):
				t.Errorf("%s has time.%s", name, what)
			}
			return true
		})
	}
}

func packageOf(t *testing.T, path string) goPackage {
	t.Helper()
	list := packages(t)
	i := slices.IndexFunc(list, func(p goPackage) bool { return p.ImportPath == path })
	if i < 0 {
		t.Fatalf("there is no package %s", path)
	}
	return list[i]
}

// The files of a gofer that is nothing else link no sentry.
func TestSmallGofer(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("go", "list", "-deps", "sandboxer/internal/goferbin/sandboxer-gofer").Output()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(out), "gvisor.dev/gvisor/pkg/sentry/kernel\n") {
		t.Error("it links the sentry")
	}
}

func folder(path string) string {
	rest := strings.TrimPrefix(path, "sandboxer/")
	top, _, _ := strings.Cut(rest, "/")
	return top
}

// Every package says what it is for.
func TestPackageDocs(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		if len(p.GoFiles) > 0 && len(strings.Fields(p.Doc)) < 4 {
			t.Errorf("%s has no package comment", p.ImportPath)
		}
	}
	// Tests have none of go list's attention.
	f, err := parser.ParseFile(token.NewFileSet(), "doc.go", nil, parser.ParseComments)
	if err != nil || f.Doc == nil {
		t.Errorf("package test has no comment: %v", err)
	}
}

// What looks for files by a pattern has no directory in that: its name may hold what
// patterns are made of.
func TestPatternsHaveNoDirectory(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		if folder(p.ImportPath) == "test" {
			continue
		}
		for _, name := range p.GoFiles {
			files := token.NewFileSet()
			f, err := parser.ParseFile(files, filepath.Join(p.Dir, name), nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(f, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				if is, ok := call.Fun.(*ast.SelectorExpr); !ok || is.Sel.Name != "Glob" && is.Sel.Name != "Match" {
					return true
				}
				ast.Inspect(call.Args[0], func(n ast.Node) bool {
					if id, ok := n.(*ast.Ident); ok && id.Name != "procRoot" {
						t.Errorf("%s: a pattern is made of %s: read the directory", files.Position(n.Pos()), id.Name)
					}
					return true
				})
				return true
			})
		}
	}
}

// The top level holds the folders of the design and the usual files.
func TestTopLevel(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("git", "-C", "..", "ls-files").Output()
	if err != nil {
		return // a copy without its history has no list of files to hold to
	}
	known := []string{"cmd", "desired", "observed", "reconcile", "actuator", "gofer", "oom", "internal", "examples", "test", "docs", ".ci"}
	for _, file := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		if dir, _, nested := strings.Cut(filepath.ToSlash(file), "/"); nested && !slices.Contains(known, dir) {
			t.Errorf("%s is in a folder that the design does not have", file)
		}
	}
}

// The tests that hold the claims of the security page are there.
func TestSecurityClaims(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`([a-z/]*)\\.?((?:Test|Fuzz)[A-Z][A-Za-z0-9]*)`").FindAllStringSubmatch(string(b), -1)
	if len(named) < 50 {
		t.Errorf("only %d tests are named", len(named))
	}
	for _, n := range named {
		files, err := filepath.Glob(filepath.Join("..", n[1], "*_test.go"))
		found := err == nil && slices.ContainsFunc(files, func(file string) bool {
			text, err := os.ReadFile(file)
			return err == nil && strings.Contains(string(text), "\nfunc "+n[2]+"(")
		})
		if !found {
			t.Errorf("docs/security.md relies on %s.%s, which is not there", n[1], n[2])
		}
	}
}
