package test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// debian is a root directory with the programs of the recipes, which the
// Makefile makes as docs/recipes.md says.
const debian = "../.cache/debian"

// tool runs a program of the host's that must succeed.
func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// recipe declares one of examples/recipes, with the host's directories below
// the world's own and another port, and waits until it is ready.
func (w *world) recipe(name, port string) {
	w.t.Helper()
	b, err := os.ReadFile("../examples/recipes/" + name + ".yaml")
	if err != nil {
		w.t.Fatal(err)
	}
	root, err := filepath.Abs(debian)
	if err != nil {
		w.t.Fatal(err)
	}
	w.names[name] = true
	text := strings.NewReplacer("path: /srv/roots/debian", "path: "+root, "path: /srv/", "path: "+w.dir+"/srv/").Replace(string(b))
	if port != "" {
		text = strings.ReplaceAll(text, port, freePort(w.t))
	}
	w.put(name+".yaml", text)
	w.ready(name, regexp.MustCompile(`(?m)^  containers:\n  - name: (.*)$`).FindStringSubmatch(string(b))[1], true)
}

// ports are those that freePort has given away.
var ports atomic.Int64

// freePort is one of the loopback interface that nobody listens on, and that is
// given to no other test: it is none of those that the kernel chooses.
func freePort(t *testing.T) string {
	t.Helper()
	const first, last = 10_000, 30_000
	for range last - first {
		n := int64(os.Getpid()*101) + ports.Add(1)
		port := strconv.FormatInt(first+n%(last-first), 10)
		if l, err := net.Listen("tcp", "127.0.0.1:"+port); err == nil {
			l.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	return ""
}

// The recipes' programs do their work, for real clients.
func TestRecipes(t *testing.T) {
	if resyncOnly {
		return // they say the same then
	}
	for name, try := range map[string]func(w *world){
		"nginx":      tryNginx,
		"redis":      tryRedis,
		"postgresql": tryPostgreSQL,
		"sshd":       trySSH,
		"cron":       tryCron,
		"python":     tryPython,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if err := os.Mkdir(filepath.Join(w.dir, "srv"), 0o755); err != nil {
				t.Fatal(err)
			}
			w.start()
			try(w)
		})
	}
	made, err := os.ReadFile("../Makefile")
	told, errTold := os.ReadFile("../docs/recipes.md")
	if err != nil || errTold != nil {
		t.Fatal(err, errTold)
	}
	command := regexp.MustCompile(`mmdebstrap --variant=\S+ --include=\S+ \S+`)
	if a, b := command.Find(made), command.Find(told); a == nil || string(a) != string(b) {
		t.Errorf("the root directory is made by %q, and the document says %q", a, b)
	}
}

func tryNginx(w *world) {
	page := filepath.Join(w.dir, "srv", "nginx", "index.html")
	if err := os.MkdirAll(filepath.Dir(page), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(page, []byte("it works\n"), 0o644); err != nil {
		w.t.Fatal(err)
	}
	w.recipe("nginx", "8080")
	b, _ := os.ReadFile(filepath.Join(w.manifests, "nginx.yaml"))
	address := regexp.MustCompile(`listen (\S+);`).FindSubmatch(b)[1]
	resp, err := http.Get("http://" + string(address) + "/")
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	if got, err := io.ReadAll(resp.Body); string(got) != "it works\n" {
		w.t.Errorf("nginx answers %s %q, %v", resp.Status, got, err)
	}
}

// ask sends a line to a unix socket and returns what comes back, up to n lines.
func ask(w *world, path, line string, n int) (answer string) {
	w.t.Helper()
	c, err := net.Dial("unix", path)
	if err != nil {
		w.t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		w.t.Fatal(err)
	}
	if _, err := fmt.Fprint(c, line); err != nil {
		w.t.Fatal(err)
	}
	for lines := bufio.NewReader(c); n > 0; n-- {
		l, err := lines.ReadString('\n')
		if answer += l; err != nil {
			break
		}
	}
	return answer
}

// What was written is there after the container was killed.
func tryRedis(w *world) {
	w.recipe("redis", "")
	socket := filepath.Join(w.dir, "srv", "redis", "redis.sock")
	if got := ask(w, socket, "SET k kept\r\n", 1); got != "+OK\r\n" {
		w.t.Errorf("redis answers %q", got)
	}
	w.ok("kill", "--signal", "KILL", "redis")
	w.wait("redis", "ready again", func(s sandbox) bool { return s.Status.Containers[0].RestartCount == 1 && s.Status.Ready })
	if got := ask(w, socket, "GET k\r\n", 2); got != "$4\r\nkept\r\n" {
		w.t.Errorf("after a kill redis answers %q", got)
	}
}

// The cluster is made once, and is shut down by the stop signal.
func tryPostgreSQL(w *world) {
	w.recipe("postgresql", "")
	sql := func(text string) string {
		return strings.TrimSpace(w.ok("exec", "postgresql", "--", "psql", "-h", "/run/pg", "-U", "postgres", "-qtAc", text))
	}
	sql("create table t (k int); insert into t values (7)")
	w.ok("restart", "postgresql")
	w.wait("postgresql", "ready again", func(s sandbox) bool { return s.Status.Ready && s.box("postgres").ID != "postgresql.postgres.1" })
	if got := sql("select k from t"); got != "7" {
		w.t.Errorf("after a restart the table holds %q", got)
	}
	if log := w.run("logs", "postgresql/postgres").err; !strings.Contains(log, "received fast shutdown request") || strings.Contains(log, "not properly shut down") {
		w.t.Errorf("it was not shut down by its signal:\n%s", log)
	}
}

func trySSH(w *world) {
	keys := filepath.Join(w.dir, "srv", "sshd")
	if err := os.MkdirAll(keys, 0o700); err != nil {
		w.t.Fatal(err)
	}
	for _, k := range []string{"host_key", "client"} {
		tool(w.t, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(keys, k))
	}
	if err := os.Rename(filepath.Join(keys, "client.pub"), filepath.Join(keys, "authorized_keys")); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(keys, "authorized_keys"), 0o600); err != nil {
		w.t.Fatal(err)
	}
	w.recipe("sshd", "2222")
	b, _ := os.ReadFile(filepath.Join(w.manifests, "sshd.yaml"))
	port := regexp.MustCompile(`Port (\d+)`).FindSubmatch(b)[1]
	got := tool(w.t, "ssh", "-p", string(port), "-i", filepath.Join(keys, "client"), "-o", "StrictHostKeyChecking=no",
		"-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "BatchMode=yes", "root@127.0.0.1", "uname -r; id -u")
	if !strings.Contains(got, "gvisor\n0\n") {
		w.t.Errorf("a session says %q", got)
	}
}

func tryCron(w *world) {
	w.recipe("cron", "")
	awaitFile(w.t, filepath.Join(w.dir, "srv", "cron", "dates"))
}

func tryPython(w *world) {
	w.recipe("python", "")
	socket := filepath.Join(w.dir, "srv", "python", "http.sock")
	listens := func() bool {
		c, err := net.Dial("unix", socket)
		if err == nil {
			c.Close()
		}
		return err == nil
	}
	if !poll(listens) {
		w.t.Fatal("nobody listens on " + socket)
	}
	if got := ask(w, socket, "GET / HTTP/1.0\r\n\r\n", 100); !strings.HasSuffix(got, "hello from python\n") {
		w.t.Errorf("it answers %q", got)
	}
}

// An OCI layout that is unpacked as docs/recipes.md says runs, as a root and as
// a bundle.
func TestLayout(t *testing.T) {
	if resyncOnly {
		return // it is the same then
	}
	w := newWorld(t)
	layout, app := filepath.Join(w.dir, "layout"), filepath.Join(w.dir, "app")
	tool(t, "umoci", "init", "--layout", layout)
	tool(t, "umoci", "new", "--image", layout+":app")
	tool(t, "umoci", "insert", "--image", layout+":app", rootfs, "/")
	tool(t, "umoci", "config", "--image", layout+":app", "--config.cmd", "/w", "--config.cmd", "list", "--config.cmd", "/")
	tool(t, "umoci", "unpack", "--image", layout+":app", app)
	tool(t, "sed", "-i", `s/"terminal": true/"terminal": false/`, filepath.Join(app, "config.json"))
	w.start()
	w.declare("layout", "hostname: umoci-default\nrestartPolicy: Never\ncontainers:\n- {name: root, rootfs: {path: DIR/app/rootfs}, command: [/w, list, /]}\n"+
		"- {name: bundle, bundle: DIR/app}")
	w.wait("layout", "ended", phase("Succeeded"))
	if a, b := w.ok("logs", "layout/root"), w.ok("logs", "layout/bundle"); !strings.Contains(a, "w") || a != b {
		t.Errorf("the root holds %q, the bundle %q", a, b)
	}
}
