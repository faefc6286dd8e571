package shop_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"syscall"
	"testing"
	"time"

	"github.com/weft-dev/weft/examples/internal/run"
)

// webElement is the name of an element's id in WebDriver's JSON.
const webElement = "element-6066-11e4-a52e-4f735466cecf"

// browser is a Chromium with a profile of its own, driven over W3C WebDriver.
type browser struct {
	t       testing.TB
	session string // address of its session
}

var driverPort = regexp.MustCompile(`started successfully on port ([0-9]+)`)

// startDriver starts chromedriver, until the test ends, and returns its address.
func startDriver(t testing.TB) string {
	t.Helper()
	cmd := exec.Command("chromedriver", "--port=0")
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // with browsers that are left
		_ = cmd.Wait()
	})
	port := make(chan string, 1)
	go func() {
		defer close(port)
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			if found := driverPort.FindStringSubmatch(lines.Text()); found != nil {
				port <- found[1]
			}
		}
	}()
	select {
	case p, ok := <-port:
		if !ok {
			t.Fatal("chromedriver ended before it listened")
		}
		return "http://127.0.0.1:" + p
	case <-time.After(time.Minute):
		t.Fatal("chromedriver never said where it listens")
	}
	return ""
}

// newBrowser starts a Chromium that reaches nothing but this machine.
func newBrowser(t testing.TB, driver string) *browser {
	t.Helper()
	args := []string{
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--no-proxy-server", "--window-size=480,640",
		"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--user-data-dir=" + t.TempDir(),
	}
	b := &browser{t: t, session: driver + "/session"}
	var made struct{ SessionID string }
	b.ask(http.MethodPost, "", map[string]any{"capabilities": map[string]any{"alwaysMatch": map[string]any{"goog:chromeOptions": map[string]any{"args": args}}}}, &made)
	b.session += "/" + made.SessionID
	t.Cleanup(func() {
		if err := b.try(context.Background(), http.MethodDelete, "", nil, nil); err != nil {
			t.Error(err)
		}
	})
	return b
}

// try sends a command of WebDriver and reads its value.
func (b *browser) try(ctx context.Context, method, path string, body, value any) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var text bytes.Buffer // WebDriver wants none where there is no body
	if body != nil {
		if err := json.NewEncoder(&text).Encode(body); err != nil {
			return err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, b.session+path, &text)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // it was read
	var answer struct{ Value json.RawMessage }
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		var why struct{ Message string }
		_ = json.Unmarshal(answer.Value, &why) // "" says enough
		return fmt.Errorf("%s %s: status %d: %s", method, path, resp.StatusCode, why.Message)
	}
	if value == nil {
		return nil
	}
	return json.Unmarshal(answer.Value, value)
}

func (b *browser) ask(method, path string, body, value any) {
	b.t.Helper()
	if err := b.try(b.t.Context(), method, path, body, value); err != nil {
		b.t.Fatal(err)
	}
}

// open goes to an address and waits until it is loaded.
func (b *browser) open(url string) {
	b.t.Helper()
	b.ask(http.MethodPost, "/url", map[string]string{"url": url}, nil)
}

// at is the address that the browser shows.
func (b *browser) at() string {
	b.t.Helper()
	var url string
	b.ask(http.MethodGet, "/url", nil, &url)
	return url
}

func (b *browser) find(ctx context.Context, css string) (string, error) {
	var element map[string]string
	if err := b.try(ctx, http.MethodPost, "/element", map[string]string{"using": "css selector", "value": css}, &element); err != nil {
		return "", err
	}
	if element[webElement] == "" {
		return "", errors.New("the driver names no element")
	}
	return "/element/" + element[webElement], nil
}

// click waits until an element can be clicked and clicks it.
func (b *browser) click(css string) {
	b.t.Helper()
	run.Until(b.t, css+" can be clicked", func() bool {
		element, err := b.find(b.t.Context(), css)
		return err == nil && b.try(b.t.Context(), http.MethodPost, element+"/click", struct{}{}, nil) == nil
	})
}

// shows waits until an element's text is as wanted, 20 s at most.
func (b *browser) shows(css, want string) {
	b.t.Helper()
	var text string
	end := time.Now().Add(20 * time.Second)
	run.Until(b.t, css+" is shown", func() bool {
		if element, err := b.find(b.t.Context(), css); err == nil {
			_ = b.try(b.t.Context(), http.MethodGet, element+"/text", nil, &text) // the page may have changed meanwhile
		}
		return text == want || time.Now().After(end)
	})
	if text != want {
		b.t.Errorf("%s at %s is %q, want %q", css, b.at(), text, want)
	}
}

// script runs JavaScript in the page and reads what it returns.
func (b *browser) script(code string, value any) {
	b.t.Helper()
	b.ask(http.MethodPost, "/execute/sync", map[string]any{"script": code, "args": []any{}}, value)
}

// shoot writes what the browser shows to a file.
func (b *browser) shoot(file string) {
	b.t.Helper()
	var text string
	b.ask(http.MethodGet, "/screenshot", nil, &text)
	png, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(file, png, 0o600); err != nil {
		b.t.Fatal(err)
	}
}
