package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/store"
	"github.com/weft-dev/weft/runtime/wechat"
)

// Sample secrets of the tests' apps.
const (
	testToken = "testToken"
	testKey   = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
	testAppID = "wx0123456789abcdef"
)

// TestMain keeps what the sandbox compiles for all tests of this run. The
// sandbox starts this program as its compiler, too.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "compile" {
		if err := Compile(context.Background(), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		syscall.Exit(0) // with os.Exit the race detector would wait a second
	}
	dir, err := os.MkdirTemp("", "weft-server-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	compileCache = dir
	if into := os.Getenv("WEFT_TEST_OUTPUT"); into != "" {
		if testOutput, err = os.CreateTemp(into, "server-*.log"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	spareProcessor() // as Serve
	code := m.Run()
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

// testOutput takes all that the hosts of this run log, for .ci/search; nil: nobody
// searches.
var testOutput *os.File

// compileCache is the folder of compiled plugins.
var compileCache string

// plainWeft builds the command without the race detector, once.
var plainWeft = sync.OnceValues(func() (string, error) {
	bin := filepath.Join(compileCache, "weft")
	// wazero keeps what it compiled by its version, which tests don't have.
	const version = "-X=github.com/tetratelabs/wazero/internal/version.version=dev"
	if out, err := exec.Command("go", "build", "-ldflags", version, "-o", bin, "../cmd/weft").CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w: %s", err, out)
	}
	return bin, nil
})

// precompile puts a module into compileCache. Under the race detector the
// sandbox's compiler takes ten times as long for a Go guest, half a minute on a
// busy machine: then a program without it does that.
func precompile(module string) error {
	if !raceEnabled {
		return nil
	}
	weft, err := plainWeft()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(compileCache, "check-")
	if err != nil {
		return err
	}
	if err := os.Symlink(compileCache, filepath.Join(dir, "cache")); err != nil {
		return err
	}
	file := filepath.Join(dir, "pipeline.yaml")
	text := fmt.Sprintf("weft: 1\nserver: { data: %q }\nplugins: { guest: { source: %q, grants: { state: true } } }\n", dir, module)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return err
	}
	if out, err := exec.Command(weft, "check", "-c", file).CombinedOutput(); err != nil {
		return fmt.Errorf("weft check: %w: %s", err, out)
	}
	return nil
}

// syncBuffer is a log that goroutines write while a test reads it.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if testOutput != nil {
		if n, err := testOutput.Write(p); err != nil {
			return n, err
		}
	}
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// lines decodes the JSON log lines with this msg.
func (b *syncBuffer) lines(t testing.TB, msg string) []map[string]any {
	t.Helper()
	var found []map[string]any
	for line := range strings.Lines(b.String()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("log line is no JSON: %v: %s", err, line)
		}
		if m["msg"] == msg {
			found = append(found, m)
		}
	}
	return found
}

// buildGuest compiles a plugin of the tests.
func buildGuest(name string) (string, error) {
	var out bytes.Buffer
	path, err := BuildPlugin(context.Background(), filepath.Join("testdata", name), &out)
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out.String())
	}
	if path, err = filepath.Abs(path); err != nil {
		return "", err
	}
	return path, precompile(path)
}

// probeWasm and askerWasm compile the tests' plugins, once.
var (
	probeWasm = sync.OnceValues(func() (string, error) { return buildGuest("probe") })
	askerWasm = sync.OnceValues(func() (string, error) { return buildGuest("asker") })
)

func probe(t testing.TB) string {
	t.Helper()
	path, err := probeWasm()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func asker(t testing.TB) string {
	t.Helper()
	path, err := askerWasm()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// appYAML is an app of a test's configuration.
func appYAML(name, mode, more string) string {
	s := fmt.Sprintf("  %s:\n    type: official\n    app_id: %s\n    token: %s\n    mode: %s\n", name, testAppID, testToken, mode)
	if mode != "plain" {
		s += "    encoding_aes_key: " + testKey + "\n"
	}
	for line := range strings.Lines(more) {
		s += "    " + line
	}
	return s
}

// writeConfig writes a pipeline.yaml with these sections, listeners on any port
// and a folder of its own.
func writeConfig(t testing.TB, sections string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(compileCache, filepath.Join(dir, "data", "cache")); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "pipeline.yaml")
	text := "weft: 1\nserver: { listen: \"127.0.0.1:0\", admin: \"127.0.0.1:0\", data: ./data, drain: 5s }\n" + sections
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// echoSections are apps of every mode that answer each text with a fixed one.
func echoSections() string {
	return "apps:\n" + appYAML("shop", "encrypted", "") + appYAML("mixed", "compatible", "") + appYAML("open", "plain", "callback_path: /old/path\n") +
		"pipeline:\n  stages:\n    - when: 'type == \"text\"'\n      reply: { text: 你好 }\n"
}

// probeSections are sections for apps that walk the probe.
func probeSections(t testing.TB, apps string) string {
	return "apps:\n" + apps + fmt.Sprintf(`plugins:
  probe: { source: %q, grants: { state: true }, limits: { timeout: 8s } }
pipeline:
  on_error: { reply: { text: sorry } }
  stages: [ { plugin: probe } ]
`, probe(t))
}

type testHost struct {
	*Host
	log *syncBuffer
}

// startHost starts a host that ends with the test and watches no file.
func startHost(t testing.TB, file string) *testHost {
	t.Helper()
	return startTicking(t, file, nil)
}

// startTicking starts a host that ends with the test and looks at its files when
// the test says so.
func startTicking(t testing.TB, file string, ticks <-chan time.Time) *testHost {
	t.Helper()
	log := new(syncBuffer)
	h, err := startWatching(t.Context(), file, NewLogger(log), ticks)
	if err != nil {
		t.Fatalf("Start: %v", err)
	}
	t.Cleanup(func() {
		if err := h.Stop(context.Background()); err != nil {
			t.Errorf("Stop: %v", err)
		}
	})
	return &testHost{h, log}
}

func (h *testHost) url(path string) string { return "http://" + h.public.addr() + path }

func testAccount(t testing.TB, mode wechat.Mode) *wechat.Account {
	t.Helper()
	a, err := wechat.NewAccount(wechat.AccountConfig{AppID: testAppID, Mode: mode, Token: testToken, AESKey: testKey})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// textMessage is a text callback's document.
func textMessage(id, content string) []byte {
	return fmt.Appendf(nil, "<xml><ToUserName><![CDATA[gh_1]]></ToUserName><FromUserName><![CDATA[oUser1]]></FromUserName>"+
		"<CreateTime>%d</CreateTime><MsgType><![CDATA[text]]></MsgType><Content><![CDATA[%s]]></Content><MsgId>%s</MsgId></xml>",
		time.Now().Unix(), content, id)
}

// textFrom is a text callback's document from a user; from "" it is about none.
func textFrom(user, id, content string) []byte {
	return bytes.Replace(textMessage(id, content), []byte("oUser1"), []byte(user), 1)
}

// request is a callback ready to be posted.
type request struct {
	body  []byte
	query string
}

// seal makes a callback of a document.
func seal(a *wechat.Account, doc []byte, now time.Time) request {
	body, q := a.AppendCallback(nil, doc, wechat.Sniff(doc), "gh_1", now.Unix(), "nonce1", [16]byte{1, 2, 3})
	return request{body, q.Encode()}
}

// postTo posts a callback and returns status, content type and body.
func postTo(t testing.TB, url string, r request) (int, string, []byte) {
	t.Helper()
	resp, err := http.Post(url+"?"+r.query, "text/xml", bytes.NewReader(r.body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header.Get("Content-Type"), body
}

// say sends a text to an app in encrypted mode and returns the text of the
// answer, "success" where there is none.
func (h *testHost) say(t testing.TB, app, id, content string) string {
	t.Helper()
	a := testAccount(t, wechat.Encrypted)
	status, _, body := postTo(t, h.url("/wx/"+app), seal(a, textMessage(id, content), time.Now()))
	if status != http.StatusOK {
		t.Fatalf("status %d: %s", status, body)
	}
	return openText(t, a, body)
}

func openText(t testing.TB, a *wechat.Account, body []byte) string {
	t.Helper()
	plain, format, err := a.OpenReply(body)
	if err != nil {
		t.Fatalf("OpenReply: %v: %s", err, body)
	}
	if string(plain) == wechat.Success {
		return wechat.Success
	}
	return replyText(plain, format)
}

func get(t testing.TB, url string, header ...string) (int, string, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body), resp.Header.Get("Content-Type")
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// waitForLog waits until the host has logged this msg.
func (h *testHost) waitForLog(t testing.TB, msg string) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for len(h.log.lines(t, msg)) == 0 {
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatalf("the log never said %s", msg)
		}
	}
}

// waitForState waits until the probe's state in app shop has this value.
func (h *testHost) waitForState(t testing.TB, key, value string) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		got, err := h.store.Get(t.Context(), "state/probe/shop", key)
		if err == nil && string(got) == value {
			return
		}
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			t.Fatal(err)
		}
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatalf("%s never was %s", key, value)
		}
	}
}

func (h *testHost) setState(t testing.TB, key, value string) {
	t.Helper()
	if _, err := h.store.Apply(t.Context(), store.Op{Kind: store.Set, Bucket: "state/probe/shop", Key: key, Value: []byte(value)}); err != nil {
		t.Fatal(err)
	}
}
