package desired

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func BenchmarkDecode(b *testing.B) {
	data := []byte(one + "    env: [{name: A, value: x}]\n    resources: {limits: {cpu: 500m, memory: 256Mi}}\n")
	for b.Loop() {
		if docs := Decode("w.yaml", data); docs[0].Sandbox == nil {
			b.Fatal(docs[0].Problems)
		}
	}
}

// How long a manifest that is renamed into place takes to be delivered, with
// 50 others beside it.
func BenchmarkRenameToChanged(b *testing.B) {
	root := b.TempDir()
	dir := filepath.Join(root, "m")
	if err := os.Mkdir(dir, 0o755); err != nil {
		b.Fatal(err)
	}
	for i := range 50 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("w%d.yaml", i)), []byte(doc(fmt.Sprintf("w%d", i), 1)), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	d, err := New(Config{Dirs: []string{dir}, Store: filepath.Join(root, "store"), Resync: time.Hour, Settle: time.Second, DeletionGuard: 1,
		Now: func() time.Time { return time.Now().Add(time.Minute) }}) // the other files have rested
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done, changed := make(chan error, 1), make(chan struct{}, 1000)
	go func() { done <- d.Run(ctx, func([]string) { changed <- struct{}{} }) }()
	<-changed
	version := 1
	for b.Loop() {
		version++
		tmp := filepath.Join(dir, ".tmp")
		if err := os.WriteFile(tmp, []byte(doc("w7", version)), 0o644); err != nil {
			b.Fatal(err)
		}
		if err := os.Rename(tmp, filepath.Join(dir, "w7.yaml")); err != nil {
			b.Fatal(err)
		}
		<-changed
	}
	cancel()
	if err := <-done; err != nil {
		b.Fatal(err)
	}
}

func BenchmarkIdleScan(b *testing.B) {
	dir := b.TempDir()
	for i := range 50 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("w%d.yaml", i)), []byte(doc(fmt.Sprintf("w%d", i), 1)), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	s := &scanner{roots: []root{{path: dir}}, allowUnsafe: true, answers: allAnswer, reach: outOfReach, now: func() time.Time { return time.Now().Add(time.Minute) }}
	for b.Loop() {
		if sc := s.scan(); len(sc.files) != 50 {
			b.Fatal(sc.problems)
		}
	}
}

// How long a scan takes whose only news is one manifest, beside tens of
// thousands of documents that are rejected.
func BenchmarkScanBesideRejected(b *testing.B) {
	var names, same, nameless strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&names, "---\nmetadata: {name: x%d}\n", i)
		same.WriteString("---\nmetadata: {name: same}\n")
		fmt.Fprintf(&nameless, "---\nx: %d\n", i)
	}
	dir := b.TempDir()
	write := func(name, content string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	write("names.yaml", names.String())
	write("same.yaml", same.String())
	write("nameless.yaml", nameless.String())
	d, err := New(Config{Dirs: []string{dir}, Resync: time.Hour, Settle: time.Second, DeletionGuard: 1})
	if err != nil {
		b.Fatal(err)
	}
	scan := func() { d.look(func([]string) {}, func() {}) }
	scan()
	version := 1
	for b.Loop() {
		version++
		write("w.yaml", doc("w", version))
		scan()
	}
}
