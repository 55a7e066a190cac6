package probe

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sandboxer/desired"
)

// fake is a container whose commands' exit codes and servers are set.
type fake struct {
	mu     sync.Mutex
	asked  []time.Duration // when, since begin
	begin  time.Time
	code   func(n int) (int, error) // of the n-th command, from 1
	takes  time.Duration
	killed int
	says   string
	serve  func(net.Conn, int)
	dialed []string
}

func (f *fake) Exec(ctx context.Context, command []string, output io.Writer) (int, error) {
	f.mu.Lock()
	f.asked = append(f.asked, time.Since(f.begin))
	n := len(f.asked)
	f.mu.Unlock()
	fmt.Fprint(output, f.says)
	select {
	case <-time.After(f.takes):
	case <-ctx.Done():
		f.mu.Lock()
		defer f.mu.Unlock()
		f.killed++
		return 0, context.Cause(ctx)
	}
	return f.code(n)
}

func (f *fake) Dial(_ context.Context, host string, port int) (net.Conn, error) {
	f.dialed = append(f.dialed, fmt.Sprint(host, ":", port))
	if f.serve == nil {
		return nil, errors.New("refused")
	}
	ours, theirs := net.Pipe()
	go f.serve(theirs, port)
	return ours, nil
}

// answers makes a server of one answer to one request.
func answers(head, body string) func(net.Conn, int) {
	return func(c net.Conn, _ int) {
		defer c.Close()
		if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
			return
		}
		fmt.Fprintf(c, "HTTP/1.1 %s\r\nConnection: close\r\n\r\n%s", head, body)
	}
}

// Each means, its successes and failures, and what is said of these.
func TestMeans(t *testing.T) {
	exec := &desired.Probe{TimeoutSeconds: 2, Exec: &desired.ExecAction{Command: []string{"x"}}}
	get := &desired.Probe{TimeoutSeconds: 2, HTTPGet: &desired.HTTPGetAction{Path: "/a?b=c", Port: 80, Scheme: "HTTP"}}
	tcp := &desired.Probe{TimeoutSeconds: 2, TCPSocket: &desired.TCPSocketAction{Port: 80}}
	exits := func(code int, err error) func(int) (int, error) { return func(int) (int, error) { return code, err } }
	for _, c := range []struct {
		name  string
		probe *desired.Probe
		f     *fake
		want  string
	}{
		{"exit code 0", exec, &fake{code: exits(0, nil)}, ""},
		{"exit code 3", exec, &fake{code: exits(3, nil)}, "exit code 3"},
		{"words", exec, &fake{code: exits(3, nil), says: "a\tb\n\x1b[31mc\xff\n"}, "exit code 3: a b [31mc?"},
		{"many words", exec, &fake{code: exits(3, nil), says: strings.Repeat("é", 6000)}, "exit code 3: " + strings.Repeat("é", 200) + "…"},
		{"no such command", exec, &fake{code: exits(0, errors.New("no such file"))}, "no such file"},
		{"slow command", exec, &fake{takes: time.Minute}, "no answer within 2s"},
		{"200", get, &fake{serve: answers("200 OK", "x")}, ""},
		{"399", get, &fake{serve: answers("399 X", "x")}, ""},
		{"400", get, &fake{serve: answers("400 X", "")}, "HTTP status 400"},
		{"503", get, &fake{serve: answers("503 X", "no\n\nway")}, "HTTP status 503: no way"},
		{"endless answer", get, &fake{serve: answers("500 X", strings.Repeat("y", 1<<20))}, "HTTP status 500: " + strings.Repeat("y", 200) + "…"},
		{"redirect elsewhere", get, &fake{serve: answers("302 X\r\nLocation: http://other/", "")}, ""},
		{"redirects for ever", get, &fake{serve: answers("302 X\r\nLocation: /", "")}, "10 redirects in a row"},
		{"no HTTP", get, &fake{serve: answers("hello", "")}, "malformed HTTP status code \"hello\""},
		{"hints before", get, &fake{serve: answers("103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK", "")}, ""},
		{"an endless head", get, &fake{serve: answers("200 OK\r\nX: "+strings.Repeat("x", 1<<20), "")}, "unexpected EOF"},
		{"silent server", get, &fake{serve: func(c net.Conn, _ int) { io.Copy(io.Discard, c) }}, "no answer within 2s"},
		{"nobody serves", get, &fake{}, "refused"},
		{"connected", tcp, &fake{serve: func(c net.Conn, _ int) { c.Close() }}, ""},
		{"not connected", tcp, &fake{}, "refused"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				err := ask(t.Context(), c.f, c.probe)
				got := ""
				if err != nil {
					got = oneLine(err.Error(), messageMax)
				}
				if got != c.want {
					t.Errorf("it said %q, want %q", got, c.want)
				}
				synctest.Wait() // all that it has begun ends
			})
		})
	}
}

// What a server is told, and where it is looked for.
func TestRequest(t *testing.T) {
	var got *http.Request
	f := &fake{serve: func(c net.Conn, port int) {
		defer c.Close()
		var err error
		if got, err = http.ReadRequest(bufio.NewReader(c)); err != nil {
			t.Error(err)
		}
		if port == 80 {
			fmt.Fprint(c, "HTTP/1.1 301 X\r\nLocation: http://1.2.3.4:81/there\r\nConnection: close\r\n\r\n")
			return
		}
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
	}}
	p := &desired.Probe{TimeoutSeconds: 1, HTTPGet: &desired.HTTPGetAction{Path: "/a%20b?c=d", Port: 81, Host: "1.2.3.4", Scheme: "HTTP",
		HTTPHeaders: []desired.HTTPHeader{{Name: "host", Value: "web.example"}, {Name: "X", Value: "1"}, {Name: "x", Value: "2"}, {Name: "accept", Value: "text/plain"}}}}
	if err := ask(t.Context(), f, p); err != nil {
		t.Fatal(err)
	}
	if got.Host != "web.example" || got.RequestURI != "/a%20b?c=d" || fmt.Sprint(got.Header) !=
		"map[Accept:[text/plain] Connection:[close] User-Agent:[sandboxer-probe] X:[1 2]]" {
		t.Errorf("the server is told %s %s %v", got.Host, got.RequestURI, got.Header)
	}
	p.HTTPGet.Port, p.HTTPGet.HTTPHeaders = 80, nil
	if err := ask(t.Context(), f, p); err != nil {
		t.Fatal(err)
	}
	if got.Host != "1.2.3.4:81" || got.URL.Path != "/there" || fmt.Sprint(f.dialed) != "[1.2.3.4:81 1.2.3.4:80 1.2.3.4:81]" {
		t.Errorf("a redirect leads to %s%s by %v", got.Host, got.URL, f.dialed)
	}
}

// Nobody asks who has signed a certificate.
func TestHTTPS(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			http.Redirect(w, r, "/there", http.StatusFound)
			return
		}
		w.WriteHeader(http.StatusTeapot)
	}))
	defer server.Close()
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	f := &fake{serve: func(c net.Conn, _ int) {
		defer c.Close()
		up, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Error(err)
			return
		}
		defer up.Close()
		go io.Copy(up, c)
		io.Copy(c, up)
	}}
	p := &desired.Probe{TimeoutSeconds: 30, HTTPGet: &desired.HTTPGetAction{Path: "/", Port: 443, Scheme: "HTTPS"}}
	if err := ask(t.Context(), f, p); err == nil || err.Error() != "HTTP status 418" {
		t.Errorf("it said %v", err)
	}
	if fmt.Sprint(f.dialed) != "[:443 :443]" {
		t.Errorf("it connected to %v", f.dialed)
	}
}

// Before it is stopped a container does one thing, for as long as it may.
func TestPreStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{code: func(int) (int, error) { return 4, nil }}
		if err := PreStop(t.Context(), f, &desired.PreStop{Exec: &desired.ExecAction{Command: []string{"x"}}}); err == nil || err.Error() != "exit code 4" {
			t.Errorf("a command: %v", err)
		}
		if err := PreStop(t.Context(), f, &desired.PreStop{HTTPGet: &desired.HTTPGetAction{Path: "/", Port: 1, Scheme: "HTTP"}}); err == nil || err.Error() != "refused" {
			t.Errorf("a request: %v", err)
		}
		begin := time.Now()
		if err := PreStop(t.Context(), f, &desired.PreStop{Sleep: &desired.SleepAction{Seconds: 3}}); err != nil || time.Since(begin) != 3*time.Second {
			t.Errorf("a while: %v after %s", err, time.Since(begin))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := PreStop(ctx, f, &desired.PreStop{Sleep: &desired.SleepAction{Seconds: 3}}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a while that is too long: %v", err)
		}
	})
}
