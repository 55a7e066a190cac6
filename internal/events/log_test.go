package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr/funcr"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func open(t *testing.T, c Config) *Log {
	t.Helper()
	if c.Dir == "" {
		c.Dir = t.TempDir()
	}
	if c.Now == nil {
		c.Now = func() time.Time { return noon }
	}
	l, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func messages(list []Event) string {
	var m []string
	for _, e := range list {
		m = append(m, e.Message)
	}
	return strings.Join(m, " ")
}

func TestEventInJSON(t *testing.T) {
	e := Event{Time: noon, Sandbox: "web", Container: "app", Type: Warning, Reason: "Started",
		Action: "start", Message: "declared Running", Took: 35 * time.Millisecond}
	b, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"time":"2026-01-02T12:00:00Z","sandbox":"web","container":"app","type":"Warning",` +
		`"reason":"Started","action":"start","message":"declared Running","took":"35ms"}`
	if string(b) != want {
		t.Errorf("got  %s\nwant %s", b, want)
	}
	var back Event
	if err := json.Unmarshal(b, &back); err != nil || !reflect.DeepEqual(back, e) {
		t.Errorf("read back %+v, %v", back, err)
	}
	for _, bad := range []string{`{"took":"long"}`, `{"time":1}`} {
		if json.Unmarshal([]byte(bad), &back) == nil {
			t.Errorf("%s was accepted", bad)
		}
	}
}

func TestEventsSurviveARestart(t *testing.T) {
	dir := t.TempDir()
	l := open(t, Config{Dir: dir})
	l.Append(Event{Sandbox: "web", Message: "a"})
	l.Append(Event{Sandbox: "db", Message: "b", Took: time.Second})
	l.Append(Event{Sandbox: "web", Message: "c", Time: noon.Add(time.Hour)})
	want := l.List("")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "events.jsonl"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(f, "{}\nnot ours\n", `{"time":"2026-01-02T12:00:0`) // a power cut
	f.Close()

	for range 2 {
		l = open(t, Config{Dir: dir})
		if got := l.List(""); !reflect.DeepEqual(got, want) {
			t.Fatalf("got %+v\nwant %+v", got, want)
		}
		l.Append(Event{Message: "d"})
		want = append(want, Event{Time: noon, Type: Normal, Message: "d"})
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if got := messages(l.List("web")); got != "a c" {
		t.Errorf("of web: %s", got)
	}
	if got := l.List("nobody"); got == nil || len(got) != 0 {
		t.Errorf("of nobody: %v, want an empty list", got)
	}
}

func TestEverythingIsBounded(t *testing.T) {
	dir := t.TempDir()
	c := Config{Dir: dir, Keep: 10, MaxFile: 2000}
	l := open(t, c)
	for i := range 1000 {
		l.Append(Event{Message: fmt.Sprint(i)})
	}
	const want = "990 991 992 993 994 995 996 997 998 999"
	if got := messages(l.List("")); got != want {
		t.Errorf("in memory: %s", got)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	for _, f := range files {
		if st, err := os.Stat(f); err != nil || st.Size() > c.MaxFile {
			t.Errorf("%s: %d bytes, %v", f, st.Size(), err)
		}
	}
	if len(files) != 2 {
		t.Errorf("files: %v", files)
	}
	if got := messages(open(t, c).List("")); got != want {
		t.Errorf("after a restart: %s", got)
	}
	l.Append(Event{Message: strings.Repeat("é", maxLine)})
	list := l.List("")
	if got := list[len(list)-1].Message; len(got) > maxMessage+10 || !strings.HasSuffix(got, "é …") {
		t.Errorf("a message of %d bytes was kept", len(got))
	}
}

func TestFullDiskHurtsNobody(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "events.jsonl")
	if err := os.Symlink("/dev/full", path); err != nil {
		t.Fatal(err)
	}
	l := open(t, Config{Dir: dir})
	l.Append(Event{Message: "a"})
	l.Append(Event{Message: "b"})
	if l.Dropped() != 2 || messages(l.List("")) != "a b" {
		t.Errorf("dropped %d, kept %v", l.Dropped(), l.List(""))
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	l.Append(Event{Message: "c"})
	if got := messages(open(t, Config{Dir: dir}).List("")); got != "c" || l.Dropped() != 2 {
		t.Errorf("after there was room again: %q stored, %d dropped", got, l.Dropped())
	}
}

func TestFolderThatCannotBe(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Config{Dir: file}); err == nil {
		t.Error("a file was taken for the data directory")
	}
	if _, err := Open(Config{}); err == nil {
		t.Error("Dir is not required")
	}
}

func TestFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := open(t, Config{Keep: 3})
		l.Append(Event{Sandbox: "web", Message: "a"})
		l.Append(Event{Sandbox: "db", Message: "b"})
		follow := func(ctx context.Context, sandbox string) (*[]Event, *error) {
			var got []Event
			var ended error
			go func() {
				ended = l.Follow(ctx, sandbox, func(e Event) error { got = append(got, e); return nil })
			}()
			return &got, &ended
		}
		ctx, cancel := context.WithCancel(t.Context())
		all, allEnded := follow(t.Context(), "")
		web, webEnded := follow(ctx, "web")
		synctest.Wait()
		l.Append(Event{Sandbox: "web", Message: "c"})
		synctest.Wait()
		l.Append(Event{Sandbox: "db", Message: "d"})
		synctest.Wait()
		cancel()
		synctest.Wait()
		if got := messages(*web); got != "a c" || !errors.Is(*webEnded, context.Canceled) {
			t.Errorf("of web: %q, %v", got, *webEnded)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := messages(*all); got != "a b c d" || *allEnded != nil {
			t.Errorf("of all: %q, %v", got, *allEnded)
		}
		l.Append(Event{Message: "too late"})
		if got := messages(l.List("")); got != "b c d" {
			t.Errorf("after Close: %q", got)
		}
	})
}

func TestSlowFollowerHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := open(t, Config{Keep: 3})
		l.Append(Event{Message: "0"})
		release, full := make(chan struct{}), errors.New("full")
		var got []Event
		var ended error
		go func() {
			ended = l.Follow(t.Context(), "", func(e Event) error {
				<-release
				if got = append(got, e); len(got) == 4 {
					return full
				}
				return nil
			})
		}()
		synctest.Wait()
		for i := range 10 {
			l.Append(Event{Message: fmt.Sprint(i + 1)})
		}
		close(release)
		synctest.Wait()
		if messages(got) != "0 8 9 10" || ended != full {
			t.Errorf("got %q, %v", messages(got), ended)
		}
	})
}

// A line that was changed is passed over and told of; those of an earlier
// version, which had no checksums, are read.
func TestDamagedEvents(t *testing.T) {
	dir := t.TempDir()
	l, err := Open(Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	for _, reason := range []string{"First", "Second", "Third"} {
		l.Append(Event{Sandbox: "web", Reason: reason})
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "events.jsonl")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(data), "\n")
	lines[1] = strings.Replace(lines[1], "Second", "Sicond", 1)
	unsealed, _, _ := strings.Cut(lines[2], `,"checksum"`)
	if err := os.WriteFile(file, []byte(lines[0]+lines[1]+unsealed+"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	l, err = Open(Config{Dir: dir, Log: funcr.New(func(_, args string) { log.WriteString(args) }, funcr.Options{})})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if got := l.List(""); len(got) != 2 || got[0].Reason != "First" || got[1].Reason != "Third" || !strings.Contains(log.String(), `"lines"=1`) {
		t.Errorf("%+v, logged %s", got, log.String())
	}
}

// What is no file, where events are kept, gives way and keeps nobody from starting.
func TestNoFileThere(t *testing.T) {
	for _, file := range []string{"events.jsonl", "events.jsonl.1"} {
		dir := t.TempDir()
		for _, d := range []string{file, file + ".damaged"} {
			if err := os.MkdirAll(filepath.Join(dir, d, "x"), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		l := open(t, Config{Dir: dir})
		l.Append(Event{Sandbox: "web", Message: "one"})
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if got := messages(open(t, Config{Dir: dir}).List("")); got != "one" {
			t.Errorf("%s: %q", file, got)
		}
	}
}
