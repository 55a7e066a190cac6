package api

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Every route says what its client needs, and every one that could change
// something is noted.
func TestEveryRouteHasALevel(t *testing.T) {
	s, err := New(Config{Backend: &fake{}})
	if err != nil {
		t.Fatal(err)
	}
	for _, rt := range s.routes() {
		if rt.level < Read || rt.level > Admin {
			t.Errorf("%s %s has no level", rt.method, rt.path)
		}
		changes := rt.method != "GET" && rt.path != "/v1/plan"
		if changes != (rt.note != unnoted) || changes && rt.level == Read {
			t.Errorf("%s %s: level %s, noted %v", rt.method, rt.path, rt.level, rt.note)
		}
	}
}

func TestLevels(t *testing.T) {
	s := &Server{cfg: Config{Access: []Grant{{4000, Read}, {4001, Operate}, {4000, Admin}, {4002, Read}}}}
	for _, c := range []struct {
		p    peer
		want Level
	}{
		{peer{}, Admin},
		{peer{uid: 1000, gid: 1000}, 0},
		{peer{uid: 1000, gid: 4002}, Read},
		{peer{uid: 1000, gid: 1000, groups: []uint32{4002, 4001}}, Operate},
		{peer{uid: 1000, gid: 4000}, Admin},
	} {
		if got := s.level(c.p); got != c.want {
			t.Errorf("%+v: %q, want %q", c.p, got, c.want)
		}
	}
	if got := (&Server{}).level(peer{uid: 1000}); got != Admin {
		t.Errorf("without grants: %q", got)
	}
	for _, name := range []string{"read", "operate", "admin"} {
		if l, err := LevelOf(name); err != nil || l.String() != name {
			t.Errorf("%s: %v, %v", name, l, err)
		}
	}
	if _, err := LevelOf("root"); err == nil {
		t.Error("root is a level")
	}
}

// A request of which nobody knows whose it is is refused.
func TestNobodyIsRefused(t *testing.T) {
	s := &Server{}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://x/v1/version", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.allow(r, &route{level: Read}); err == nil || !strings.Contains(err.Error(), "nobody knows") {
		t.Errorf("%v", err)
	}
}

// The socket can be opened by those who are granted something.
func TestSocketFollowsGrants(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to give the socket away")
	}
	for _, c := range []struct {
		grants []Grant
		mode   os.FileMode
	}{
		{nil, 0o660}, {[]Grant{{4000, Read}, {4000, Admin}}, 0o660}, {[]Grant{{4000, Read}, {4001, Read}}, 0o666},
	} {
		path := filepath.Join(t.TempDir(), "s.sock")
		l, err := Listen(path, c.grants)
		if err != nil {
			t.Fatal(err)
		}
		if st, err := os.Stat(path); err != nil || st.Mode().Perm() != c.mode {
			t.Errorf("%v: %v, %v", c.grants, st.Mode(), err)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
}
