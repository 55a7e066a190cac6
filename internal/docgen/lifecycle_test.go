package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var code = regexp.MustCompile("`([^`]+)`")

// rows are the cells of a page's tables that have so many columns and are not
// headed by what heads them.
func rows(t *testing.T, page, head string, columns int) (rows [][]string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../docs", page))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		if strings.HasPrefix(line, "| ") && len(cells) == columns && cells[0] != " "+head {
			rows = append(rows, cells)
		}
	}
	if len(rows) < 20 {
		t.Errorf("%d rows of %s were understood", len(rows), page)
	}
	return rows
}

// Whatever docs/lifecycle.md names as a function or a test exists, and a row that
// is not marked as not yet done names both.
func TestLifecycleNamesWhatIsThere(t *testing.T) {
	packages := map[string]map[string]bool{}
	for _, cells := range rows(t, "lifecycle.md", "seed", 4) {
		here, functions, tests := cells[1], code.FindAllStringSubmatch(cells[2], -1), code.FindAllStringSubmatch(cells[3], -1)
		if done := !strings.Contains(here, "*Not yet:*"); done != (len(functions) > 0) || done != (len(tests) > 0) {
			t.Errorf("%s: %d functions, %d tests", cells[0], len(functions), len(tests))
		}
		for i, m := range append(functions, tests...) {
			dir, name := cutName(m[1])
			if packages[dir] == nil {
				packages[dir] = declared(t, dir)
			}
			if strings.HasPrefix(name, "Test") != (i >= len(functions)) {
				t.Errorf("%s: %s stands in the wrong column", cells[0], m[1])
			}
			if !packages[dir][name] {
				t.Errorf("%s: %s does not exist", cells[0], m[1])
			}
		}
	}
}

// What is relied on of gVisor has a place in the code and a test that fails
// without it; whatever is pulled in by linkname is named.
func TestPagesNameWhatIsThere(t *testing.T) {
	const page = "decisions/031-following-gvisor.md"
	text, err := os.ReadFile(filepath.Join("../../docs", page))
	if err != nil {
		t.Fatal(err)
	}
	for _, target := range linknames(t) {
		if !strings.Contains(string(text), "`"+target+"`") {
			t.Errorf("%s does not name %s", page, target)
		}
	}
	for _, cells := range rows(t, page, "of gVisor", 3) {
		files, tests := code.FindAllStringSubmatch(cells[1], -1), code.FindAllStringSubmatch(cells[2], -1)
		if len(files) == 0 || len(tests) == 0 {
			t.Errorf("%s: %d files, %d tests", cells[0], len(files), len(tests))
		}
		for _, m := range files {
			if _, err := os.Stat(filepath.Join("../..", m[1])); err != nil {
				t.Errorf("%s: %v", cells[0], err)
			}
		}
		for _, m := range tests {
			if dir, name := cutName(m[1]); !declared(t, dir)[name] || !strings.HasPrefix(name, "Test") {
				t.Errorf("%s: there is no test %s", cells[0], m[1])
			}
		}
	}
}

// linknames are what the code pulls in of gVisor that way, as "folder.name" below
// runsc or pkg.
func linknames(t *testing.T) (targets []string) {
	t.Helper()
	directive := regexp.MustCompile(`(?m)^//go:linkname \w+ gvisor\.dev/gvisor/(?:runsc|pkg)/(\S+)$`)
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && strings.HasPrefix(d.Name(), ".") && d.Name() != "..":
			return filepath.SkipDir
		case !strings.HasSuffix(path, ".go"):
			return nil
		}
		source, err := os.ReadFile(path)
		for _, m := range directive.FindAllSubmatch(source, -1) {
			targets = append(targets, string(m[1]))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return targets
}

// cutName splits "folder/package.Type.Method" behind the package.
func cutName(s string) (dir, name string) {
	base := strings.LastIndex(s, "/") + 1
	before, name, _ := strings.Cut(s[base:], ".")
	return s[:base] + before, name
}

// declared are the functions, methods (as Type.Method) and types of a package,
// its tests included.
func declared(t *testing.T, dir string) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("../..", dir, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no package %s: %v", dir, err)
	}
	names := map[string]bool{}
	for _, path := range files {
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				names[receiver(d)+d.Name.Name] = true
			case *ast.GenDecl:
				for _, s := range d.Specs {
					if s, ok := s.(*ast.TypeSpec); ok {
						names[s.Name.Name] = true
					}
				}
			}
		}
	}
	return names
}

// receiver is the "Type." of a method; empty: a function's.
func receiver(d *ast.FuncDecl) string {
	if d.Recv == nil {
		return ""
	}
	typ := d.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	if name, ok := typ.(*ast.Ident); ok {
		return name.Name + "."
	}
	return ""
}
