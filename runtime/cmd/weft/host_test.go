package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/wechat"
)

// buildWeft compiles the command, once for all tests of the package.
var buildWeft = sync.OnceValues(func() (string, error) {
	bin := filepath.Join(testFolder, "weft")
	if out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %v\n%s", err, out)
	}
	return bin, nil
})

// weftBinary returns the path of the command as users run it.
func weftBinary(t testing.TB) string {
	t.Helper()
	bin, err := buildWeft()
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

// buildGuest compiles a plugin's folder and returns the module's path.
func buildGuest(t testing.TB, dir string) string {
	t.Helper()
	into := filepath.Join(t.TempDir(), filepath.Base(dir))
	if err := os.CopyFS(into, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	// A main package outside the module can't import the SDK: the copy stands
	// beside the tests for as long as the build takes.
	beside, err := os.MkdirTemp("testdata", "build-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(beside)
	if err := os.CopyFS(beside, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(weftBinary(t), "plugin", "build", beside).CombinedOutput(); err != nil {
		t.Fatalf("weft plugin build: %v\n%s", err, out)
	}
	built, err := filepath.Glob(filepath.Join(beside, "*.wasm"))
	if err != nil || len(built) != 1 {
		t.Fatalf("weft plugin build left %v, %v", built, err)
	}
	wasm, err := os.ReadFile(built[0])
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(into, filepath.Base(dir)+".wasm")
	if err := os.WriteFile(path, wasm, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// The sample app of these tests.
const (
	testToken  = "durability"
	testAESKey = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
	testAppID  = "wx0123456789abcdef"
)

// host is a running `weft serve` in a process of its own.
type host struct {
	t       *testing.T
	cmd     *exec.Cmd
	url     string // http://HOST:PORT
	account *wechat.Account
	client  http.Client
	logs    *lockedBuffer
	exited  chan error
}

// startHost runs the command line (serve, perhaps below another program) in
// dir and waits until it accepts callbacks.
func startHost(t *testing.T, dir string, argv ...string) *host {
	t.Helper()
	account, err := wechat.NewAccount(wechat.AccountConfig{AppID: testAppID, Mode: wechat.Encrypted, Token: testToken, AESKey: testAESKey, MaxSkew: 10 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	h := &host{t: t, account: account, logs: &lockedBuffer{}, exited: make(chan error, 1)}
	h.client.Timeout = 10 * time.Second
	h.cmd = exec.Command(argv[0], argv[1:]...)
	h.cmd.Dir = dir
	h.cmd.Stdout = h.logs
	h.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stderr, err := h.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := h.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.kill)
	serving := make(chan string, 1)
	go h.follow(stderr, serving)
	select {
	case addr := <-serving:
		h.url = "http://" + addr
	case err := <-h.exited:
		h.exited <- err
		t.Fatalf("weft serve ended before it served:\n%s", h.logs)
	case <-time.After(3 * time.Minute): // it may have to be compiled first
		t.Fatalf("weft serve did not say that it serves:\n%s", h.logs)
	}
	return h
}

// follow keeps what the host logs, and gives the address it serves at.
func (h *host) follow(stderr io.Reader, serving chan<- string) {
	lines := bufio.NewScanner(stderr)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		fmt.Fprintln(h.logs, lines.Text())
		var line struct{ Msg, Listen string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "serving" {
			serving <- line.Listen
		}
	}
	h.exited <- h.cmd.Wait()
}

// kill ends the host's processes as a crash would, and waits for them.
func (h *host) kill() {
	if h.cmd.Process == nil {
		return
	}
	// The group, for a host that runs below strace.
	_ = syscall.Kill(-h.cmd.Process.Pid, syscall.SIGKILL)
	<-h.exited
	h.exited <- nil
}

// terminate sends SIGTERM and returns how the host exited.
func (h *host) terminate() error {
	if err := h.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	err := <-h.exited
	h.exited <- nil
	return err
}

// text sends a text of a user and returns the content of the answer, "" for
// success. An error means that nothing was answered.
func (h *host) text(user, msgID, content string) (string, error) {
	return h.post(h.callback(user, msgID, content))
}

// callback is a text of a user as WeChat sends it: path, query and body.
func (h *host) callback(user, msgID, content string) (path string, body []byte) {
	now := time.Now().Unix()
	doc := fmt.Sprintf(`<xml><ToUserName>gh_1</ToUserName><FromUserName>%s</FromUserName><CreateTime>%d</CreateTime><MsgType>text</MsgType><Content><![CDATA[%s]]></Content><MsgId>%s</MsgId></xml>`, user, now, content, msgID)
	body, q := h.account.AppendCallback(nil, []byte(doc), wechat.XML, "gh_1", now, "n"+msgID, [16]byte{1})
	return fmt.Sprintf("/wx/shop?signature=%s&timestamp=%s&nonce=%s&encrypt_type=aes&msg_signature=%s", q.Signature, q.Timestamp, q.Nonce, q.MsgSignature), body
}

// post sends a callback and returns what text does.
func (h *host) post(path string, body []byte) (string, error) {
	resp, err := h.client.Post(h.url+path, "text/xml", bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("status %d", resp.StatusCode)
	}
	plain, _, err := h.account.OpenReply(answer)
	if err != nil {
		return "", fmt.Errorf("opening the answer: %w", err)
	}
	_, after, _ := strings.Cut(string(plain), "<Content><![CDATA[")
	said, _, _ := strings.Cut(after, "]]>")
	return said, nil
}

// lockedBuffer is a buffer for a writer and a reader at once.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if testOutput != nil {
		if n, err := testOutput.Write(p); err != nil {
			return n, err
		}
	}
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
