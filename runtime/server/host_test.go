package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/config"
	"github.com/weft-dev/weft/runtime/wechat"
)

// TestHealth asks both listeners, before and after the store went away.
func TestHealth(t *testing.T) {
	h := startHost(t, writeConfig(t, echoSections()))
	serving := h.log.lines(t, "serving")
	if len(serving) != 1 || serving[0]["listen"] != h.public.addr() || serving[0]["admin"] != h.admin.addr() || serving[0]["version"] == "" {
		t.Fatalf("the log says %v", serving)
	}
	check := func(path, want string, status int) {
		t.Helper()
		for _, base := range []string{h.url(""), "http://" + h.admin.addr()} {
			if got, body, _ := get(t, base+path); got != status || !strings.Contains(body, want) {
				t.Errorf("%s: %d %s, want %d %s", path, got, body, status, want)
			}
		}
	}
	check("/healthz", "ok", 200)
	check("/readyz", "ok", 200)
	real := h.health.store
	h.health.store = failing{err: errOutage}
	check("/readyz", "degraded", 200)
	h.health.store = real
	h.health.stopping.Store(true)
	check("/readyz", "stopping", 503)
	check("/healthz", "ok", 200)
}

// TestAdminToken wants the token wherever the admin listener has one.
func TestAdminToken(t *testing.T) {
	file := writeConfig(t, echoSections())
	replaceIn(t, file, "drain: 5s", "drain: 5s, admin_token: 0123456789abcdef0123456789abcdef")
	h := startHost(t, file)
	for _, c := range []struct {
		authorization string
		status        int
	}{
		{"Bearer 0123456789abcdef0123456789abcdef", 200},
		{"Bearer 0123456789abcdef0123456789abcdee", 401},
		{"0123456789abcdef0123456789abcdef", 401},
		{"Bearer ", 401},
		{"", 401},
	} {
		for _, path := range []string{"/metrics", "/admin/v1/status"} {
			if status, body, _ := get(t, "http://"+h.admin.addr()+path, "Authorization", c.authorization); status != c.status {
				t.Errorf("%s, %q: %d %.200s", path, c.authorization, status, body)
			}
		}
	}
}

// TestAdminName asks the listener without a token by names: a foreign one may be a
// page's whose owner has it lead to this machine.
func TestAdminName(t *testing.T) {
	file := writeConfig(t, echoSections())
	ask := func(h *testHost, method, path, host string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+h.admin.addr()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		req.Header.Set("Origin", "http://"+host)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	h := startHost(t, file)
	for _, c := range []struct {
		host   string
		status int
	}{
		{h.admin.addr(), 200},
		{"127.0.0.1", 200},
		{"[::1]:9090", 200},
		{"LocalHost:9090", 200},
		{"evil.example", 421},
		{"evil.example:9090", 421},
		{"localhost.evil.example:9090", 421},
		{"127.0.0.1.evil.example:9090", 421},
	} {
		for _, r := range [][2]string{{"GET", "/admin/v1/status"}, {"GET", "/admin/v1/shadows"}, {"GET", "/metrics"}, {"POST", "/admin/v1/reload"}} {
			if status, body := ask(h, r[0], r[1], c.host); status != c.status {
				t.Errorf("%s %s of %q: %d %.200s", r[0], r[1], c.host, status, body)
			}
		}
	}
	if err := h.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	replaceIn(t, file, "drain: 5s", "drain: 5s, admin_token: 0123456789abcdef0123456789abcdef")
	if status, body := ask(startHost(t, file), "GET", "/admin/v1/status", "weft.example"); status != 401 {
		t.Errorf("with a token: %d %.200s", status, body)
	}
}

// TestStop stops a host while a plugin runs: the delivery in flight gets its
// answer, and the listener takes no other.
func TestStop(t *testing.T) {
	log := new(syncBuffer)
	host, err := Start(t.Context(), writeConfig(t, probeSections(t, appYAML("shop", "encrypted", ""))), NewLogger(log))
	if err != nil {
		t.Fatal(err)
	}
	h := &testHost{host, log}
	address := h.public.addr()
	answer := make(chan string)
	go func() { answer <- h.say(t, "shop", "1", "wait") }()
	h.waitForState(t, "a/runs", "1")
	stopped := make(chan error)
	go func() { stopped <- h.Stop(context.Background()) }()
	h.waitForLog(t, "stopping")
	h.setState(t, "a/open", "yes")
	if got := <-answer; got != "run 1" {
		t.Errorf("the delivery in flight got %q", got)
	}
	if err := <-stopped; err != nil {
		t.Errorf("Stop: %v", err)
	}
	if conn, err := net.Dial("tcp", address); err == nil {
		conn.Close()
		t.Error("the listener still takes connections")
	}
}

// TestStopLeavesNothing stops a host with an event that waits for its plugin and
// a client that never ends its request: that is no failure, and no goroutine of
// the host is left.
func TestStopLeavesNothing(t *testing.T) {
	file := writeConfig(t, probeSections(t, appYAML("shop", "encrypted", "")))
	replaceIn(t, file, "drain: 5s", "drain: 50ms")
	log := new(syncBuffer)
	host, err := Start(t.Context(), file, NewLogger(log))
	if err != nil {
		t.Fatal(err)
	}
	h := &testHost{host, log}
	conn, err := net.Dial("tcp", h.public.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("GET /healthz HTTP/1.1\r\n")); err != nil {
		t.Fatal(err)
	}
	answer := make(chan string)
	go func() { answer <- h.say(t, "shop", "1", "wait") }()
	h.waitForState(t, "a/runs", "1")
	if err := h.Stop(context.Background()); err != nil {
		t.Errorf("Stop: %v", err)
	}
	if got := <-answer; got != wechat.Success {
		t.Errorf("the delivery in flight got %q", got)
	}
	stacks := make([]byte, 1<<20)
	for _, g := range strings.Split(string(stacks[:runtime.Stack(stacks, true)]), "\n\n") {
		if strings.Contains(g, "/weft/runtime/") && !strings.Contains(g, "_test.go") {
			t.Errorf("left behind: %s", g)
		}
	}
}

// TestListenAdvice: a port that is not for everybody is told from one that is taken.
func TestListenAdvice(t *testing.T) {
	for _, c := range []struct {
		err  syscall.Errno
		want string
	}{{syscall.EACCES, "under 1024"}, {syscall.EADDRINUSE, "stop what listens there"}} {
		err := &net.OpError{Op: "listen", Err: os.NewSyscallError("bind", c.err)}
		if got := listenAdvice(err); !strings.Contains(got, c.want) {
			t.Errorf("%v: %s", err, got)
		}
	}
}

// TestServeEndedWhileItStarts is stopped as one that waits for its store is: nothing
// went wrong.
func TestServeEndedWhileItStarts(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	log := new(syncBuffer)
	if err := Serve(ctx, writeConfig(t, echoSections()), NewLogger(log), nil); err != nil {
		t.Errorf("Serve: %v", err)
	}
	if len(log.lines(t, "stopped before it served")) != 1 || len(log.lines(t, "serving")) > 0 {
		t.Errorf("the log says %s", log)
	}
	log = new(syncBuffer)
	broken := writeConfig(t, "apps: []\n")
	if err := Serve(ctx, broken, NewLogger(log), nil); err == nil {
		t.Error("what is wrong with the configuration isn't told")
	}
}

// TestServe runs Serve until its context ends.
func TestServe(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	log := new(syncBuffer)
	file := writeConfig(t, echoSections())
	done := make(chan error)
	go func() { done <- Serve(ctx, file, NewLogger(log), nil) }()
	(&testHost{nil, log}).waitForLog(t, "serving")
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Serve: %v", err)
	}
	if len(log.lines(t, "stopped")) != 1 {
		t.Errorf("log: %s", log)
	}
}

// TestRefusedStart expects every problem at once, and nothing left open.
func TestRefusedStart(t *testing.T) {
	wrong := filepath.Join(t.TempDir(), "wrong.wasm")
	if err := os.WriteFile(wrong, []byte("\x00asm\x01\x00\x00\x00"), 0o600); err != nil {
		t.Fatal(err)
	}
	text := filepath.Join(t.TempDir(), "text.wasm")
	if err := os.WriteFile(text, []byte("(module)"), 0o600); err != nil {
		t.Fatal(err)
	}
	huge := filepath.Join(t.TempDir(), "huge.wasm")
	if err := errors.Join(os.WriteFile(huge, nil, 0o600), os.Truncate(huge, 1<<40)); err != nil {
		t.Fatal(err)
	}
	t.Run("plugins", func(t *testing.T) {
		file := writeConfig(t, "apps:\n"+appYAML("shop", "encrypted", "")+`plugins:
  missing: { source: ./missing.wasm }
  wrong: { source: "`+wrong+`" }
  text: { source: "`+text+`" }
  folder: { source: "`+filepath.Dir(text)+`" }
  huge: { source: "`+huge+`" }
pipeline:
  stages: [ { plugin: missing, when: 'type == "textt" && nope' }, { plugin: wrong }, { plugin: text }, { plugin: folder }, { plugin: huge } ]
`)
		_, err := Start(t.Context(), file, discard())
		var problems config.Problems
		if !errors.As(err, &problems) {
			t.Fatalf("Start: %v", err)
		}
		for _, want := range []string{
			"plugin missing:", "no such file or directory (compile it with `weft plugin build`", "plugin wrong:", "nope",
			"plugin text: " + text + " is not a WebAssembly module (compile it", "plugin folder: ", "is not a file (compile it",
			"huge.wasm has 1099511627776 bytes, over 33554432 (leave out of it what the plugin doesn't use)",
		} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("no %q in:\n%v", want, err)
			}
		}
		// The store is free again.
		if _, err := Start(t.Context(), file, discard()); err == nil || strings.Contains(err.Error(), "store") {
			t.Errorf("second start: %v", err)
		}
	})
	t.Run("address in use", func(t *testing.T) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		file := writeConfig(t, echoSections())
		replaceIn(t, file, `admin: "127.0.0.1:0"`, `admin: "`+ln.Addr().String()+`"`)
		if _, err := Start(t.Context(), file, discard()); err == nil || !strings.Contains(err.Error(), "server.admin") {
			t.Errorf("Start: %v", err)
		}
	})
	t.Run("data folder that is a file", func(t *testing.T) {
		file := writeConfig(t, echoSections())
		replaceIn(t, file, "data: ./data", "data: ./pipeline.yaml")
		if _, err := Start(t.Context(), file, discard()); err == nil || !strings.Contains(err.Error(), "server.data: ") {
			t.Errorf("Start: %v", err)
		}
	})
	t.Run("two hosts", func(t *testing.T) {
		file := writeConfig(t, echoSections())
		startHost(t, file)
		if _, err := Start(t.Context(), file, discard()); err == nil || !strings.Contains(err.Error(), "opening the store: ") {
			t.Errorf("a second host on the same store: %v", err)
		}
	})
}

// TestPreviousIsOver warns of what an app accepted beside its own for a time
// that has passed, because nothing else says why its callbacks are refused.
func TestPreviousIsOver(t *testing.T) {
	const until = "previous: { token: earlier, until: %s }\n"
	file := writeConfig(t, strings.Replace(echoSections(), appYAML("shop", "encrypted", ""),
		appYAML("shop", "encrypted", fmt.Sprintf(until, "2020-01-01T00:00:00Z"))+appYAML("later", "encrypted", fmt.Sprintf(until, "2999-01-01T00:00:00Z")), 1))
	report, err := Check(t.Context(), file, false)
	if err != nil || report.Problems.Err() != nil || len(report.Problems) != 1 ||
		!strings.Contains(report.Problems[0].String(), "warning: app shop: previous is over since 2020-01-01T00:00:00Z") {
		t.Errorf("Check: %v, %v", report, err)
	}
}

// TestRestart expects state to outlive a host.
func TestRestart(t *testing.T) {
	file := writeConfig(t, probeSections(t, appYAML("shop", "encrypted", "")))
	for i, want := range []string{"run 1", "run 2"} {
		log := new(syncBuffer)
		host, err := Start(t.Context(), file, NewLogger(log))
		if err != nil {
			t.Fatal(err)
		}
		h := &testHost{host, log}
		if got := h.say(t, "shop", string(rune('a'+i)), "count"); got != want {
			t.Errorf("%q, want %q", got, want)
		}
		if err := h.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSlowBody sends a body that never ends.
func TestSlowBody(t *testing.T) {
	t.Parallel()
	h := startHost(t, writeConfig(t, echoSections()))
	r := seal(testAccount(t, wechat.Encrypted), textMessage("1", "x"), time.Now())
	conn, err := net.Dial("tcp", h.public.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	start := time.Now()
	if _, err := conn.Write([]byte("POST /wx/shop?" + r.query + " HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n<xml>")); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 512)
	n, err := conn.Read(answer)
	if err != nil || !strings.HasPrefix(string(answer[:n]), "HTTP/1.1 408") {
		t.Errorf("%s %v", answer[:n], err)
	}
	if took := time.Since(start); took > bodyTime+3*time.Second {
		t.Errorf("it took %v", took)
	}
}

// TestDrainTime stops a host whose plugin runs longer than server.drain: the
// delivery gets success, and the event is run again after the next start.
func TestDrainTime(t *testing.T) {
	file := writeConfig(t, probeSections(t, appYAML("shop", "encrypted", "")))
	replaceIn(t, file, "drain: 5s", "drain: 50ms")
	log := new(syncBuffer)
	host, err := Start(t.Context(), file, NewLogger(log))
	if err != nil {
		t.Fatal(err)
	}
	h := &testHost{host, log}
	answer := make(chan string)
	go func() { answer <- h.say(t, "shop", "1", "wait") }()
	h.waitForState(t, "a/runs", "1")
	if err := h.Stop(context.Background()); err != nil {
		t.Errorf("Stop: %v\n%s", err, log)
	}
	if got := <-answer; got != wechat.Success {
		t.Errorf("the delivery got %q, want success", got)
	}
	again := startHost(t, file)
	again.waitForState(t, "a/runs", "2")
	again.setState(t, "a/open", "yes")
}

// TestUnreadBody asks where no body is read, and sends none: the connection
// ends in time all the same.
func TestUnreadBody(t *testing.T) {
	t.Parallel()
	h := startHost(t, writeConfig(t, echoSections()))
	conn, err := net.Dial("tcp", h.public.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(bodyTime + 5*time.Second)); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(conn)
	if err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 404") {
		t.Errorf("%q %v", got, err)
	}
}

func replaceIn(t *testing.T, file, old, text string) {
	t.Helper()
	src, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, bytes.Replace(src, []byte(old), []byte(text), 1), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestBrokenAppKeepsItsQueue breaks an app's config, or its file, while an event of
// it is in the durable queue and nothing is kept to fall back to: the event waits,
// and runs when the app is back.
func TestBrokenAppKeepsItsQueue(t *testing.T) {
	for name, c := range map[string]struct {
		old, text string
		status    int // of the app; 0: it is no more
	}{
		"config": {"name: good", "name: refused", http.StatusServiceUnavailable},
		"file":   {"weft: 1\napps:\n", "", http.StatusNotFound},
		"gone":   {"  shop:", "  other:", 0},
	} {
		t.Run(name, func(t *testing.T) {
			app := "weft: 1\napps:\n" + appYAML("shop", "encrypted", "with: { probe: { name: good } }\npipeline: own\n") +
				"pipelines: { own: { answer_within: 300ms, stages: [ { plugin: probe } ] } }\n"
			file := writeUnits(t, "include: [ \"apps/*.yaml\" ]\n"+probeSections(t, appYAML("root", "plain", "with: { probe: { name: good } }\n")), map[string]string{"apps/a.yaml": app})
			replaceIn(t, file, "drain: 5s", "drain: 50ms")
			log := new(syncBuffer)
			host, err := Start(t.Context(), file, NewLogger(log))
			if err != nil {
				t.Fatal(err)
			}
			h := &testHost{host, log}
			answer := make(chan string)
			go func() { answer <- h.say(t, "shop", "1", "wait") }()
			h.waitForState(t, "a/runs", "1")
			if err := h.Stop(context.Background()); err != nil {
				t.Errorf("Stop: %v", err)
			}
			<-answer
			unit := filepath.Join(filepath.Dir(file), "apps", "a.yaml")
			replaceIn(t, unit, c.old, c.text)
			if err := os.RemoveAll(h.units.kept.dir); err != nil { // else it would have its last good one
				t.Fatal(err)
			}
			broken := startHost(t, file)
			if c.status == 0 {
				broken.waitForLog(t, "durable run given up")
				return
			}
			if status, _, _ := postTo(t, broken.url("/wx/shop"), request{}); status != c.status {
				t.Errorf("the broken app answers %d", status)
			}
			if depth, err := broken.store.Depth(t.Context(), "events"); err != nil || depth.Ready != 1 || depth.Dead != 0 {
				t.Errorf("the queue has %+v, %v", depth, err)
			}
			if err := os.WriteFile(unit, []byte(app), 0o600); err != nil {
				t.Fatal(err)
			}
			if r, err := broken.Reload(t.Context(), "test"); err != nil || r.Result != reloadOK {
				t.Fatalf("%+v, %v", r, err)
			}
			broken.waitForState(t, "a/runs", "2")
		})
	}
}
