// Package movingin_test goes through the example as its README does, and through
// what may go wrong on the way.
package movingin_test

import (
	"encoding/json"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"github.com/weft-dev/weft/examples/internal/run"
)

const (
	old   = "http://127.0.0.1:8092/wechat/portal/wx1" // the old handler, as the README has it
	admin = "http://127.0.0.1:9092"
)

// example is the copy of the example, with what runs of it.
type example struct {
	*run.Example
	old *run.Program
}

// TestMovingIn takes the parts of the story one after another.
func TestMovingIn(t *testing.T) {
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("node is not there: make deps")
	}
	e := &example{Example: run.New(t)}
	e.startOld(t)
	e.Command(t, "bin/weft", "check", "--strict", "-c", e.Config())
	host := e.Serve(t)
	t.Run("as it was", e.asItWas)
	t.Run("taken over", e.takenOver)
	t.Run("tried", e.tried)
	t.Run("takes over", e.takesOver)
	t.Run("old handler down", e.oldIsDown)
	host.Stop(t)
}

func (e *example) startOld(t *testing.T) {
	e.old = e.Start(t, "the old handler listens at", "node", "examples/moving-in/old/handler.js")
}

// says holds what a user reads after a text.
func (e *example) says(t *testing.T, text, want string) {
	t.Helper()
	if got := e.Ask(t, "shop", "--text", text); got != want {
		t.Errorf("%s: %q, want %q", text, got, want)
	}
}

// reload takes changes of pipeline.yaml over, or has them refused.
func (e *example) reload(t *testing.T, want int) {
	t.Helper()
	if status, body := e.HTTP(t, http.MethodPost, admin+"/admin/v1/reload"); status != want {
		t.Errorf("reload: status %d: %s", status, body)
	}
}

// What isn't taken over is answered as the old handler answers it.
func (e *example) asItWas(t *testing.T) {
	for _, flags := range [][]string{{"--text", "价格"}, {"--text", "几点开门"}, {"--text", "hello"}, {"--event", "CLICK", "--key", "x"}, {"--event", "VIEW", "--key", "https://example.com"}} {
		before := e.Ask(t, "shop", append(flags, "--url", e.Address(old))...)
		if now := e.Ask(t, "shop", flags...); now != before || before == "" {
			t.Errorf("%q: %q, and the old handler says %q", flags, now, before)
		}
		if now := e.Ask(t, "shop", append(flags, "--url", e.Address("http://127.0.0.1:8082/wechat/portal/wx1"))...); now != before {
			t.Errorf("%q at callback_path: %q, and the old handler says %q", flags, now, before)
		}
	}
}

func (e *example) takenOver(t *testing.T) {
	for _, c := range []struct {
		want  string
		flags []string
	}{
		{"欢迎来到小店！", []string{"--event", "subscribe"}},
		{"门店海报：欢迎回来！", []string{"--event", "SCAN", "--key", "1001"}},
		{"门店海报：欢迎来到小店！", []string{"--event", "SCAN", "--key", "1001", "--user", "oAnother"}},
	} {
		if got := e.Ask(t, "shop", c.flags...); got != c.want {
			t.Errorf("%q: %q, want %q", c.flags, got, c.want)
		}
	}
}

// shadow reads what came of the events of the shadow.
func (e *example) shadow(t *testing.T) (same, different int) {
	t.Helper()
	_, text := e.HTTP(t, http.MethodGet, admin+"/admin/v1/status")
	var status struct {
		Shadows []struct{ Same, Different int }
	}
	if err := json.Unmarshal([]byte(text), &status); err != nil || len(status.Shadows) != 1 {
		t.Fatalf("%v: %s", err, text)
	}
	return status.Shadows[0].Same, status.Shadows[0].Different
}

// becomes waits until the shadow has had so many events more.
func (e *example) becomes(t *testing.T, same, different int) {
	t.Helper()
	var s, d int
	run.Until(t, "the shadow has had its events", func() bool {
		s, d = e.shadow(t)
		return s+d >= same+different
	})
	if s != same || d != different {
		t.Errorf("the shadow answered the same %d times and something else %d times, want %d and %d", s, d, same, different)
	}
}

// The plugin that is tried answers nobody, and what it would have answered
// otherwise is told. With its config mended, nothing is different.
func (e *example) tried(t *testing.T) {
	e.becomes(t, 4, 2) // the texts of asItWas
	e.says(t, "营业时间", "每天 9 点到 21 点营业。")
	e.says(t, "几点开门", "每天 9 点到 21 点营业。")
	e.becomes(t, 5, 3)
	if _, told := e.HTTP(t, http.MethodGet, admin+"/admin/v1/shadows"); !strings.Contains(told, "几点开门") || !strings.Contains(told, "没有听懂") || !strings.Contains(told, "每天 9 点") {
		t.Errorf("what was different: %s", told)
	}
	e.Edit(t, "pipeline.yaml", "words: [营业]", "words: [营业, 几点]")
	e.reload(t, http.StatusOK)
	e.says(t, "几点开门", "每天 9 点到 21 点营业。")
	e.becomes(t, 6, 3)
}

// The plugin takes over; a slip, which changes nothing; and back.
func (e *example) takesOver(t *testing.T) {
	before := e.Read(t, "pipeline.yaml")
	e.Edit(t, "pipeline.yaml", "    - name: old ", "    - plugin: keyword\n      on_error: skip\n    - name: old ")
	e.Edit(t, "pipeline.yaml", "      shadow: ", "      # shadow: ")
	e.Edit(t, "pipeline.yaml", "每天 9 点到 21 点营业。", "每天 10 点到 21 点营业。")
	taken := e.Read(t, "pipeline.yaml")
	e.reload(t, http.StatusOK)
	e.says(t, "几点开门", "每天 10 点到 21 点营业。")
	if got := e.Ask(t, "shop", "--event", "CLICK", "--key", "x"); got != "功能升级中，请稍候。" {
		t.Errorf("what is the old handler's: %q", got)
	}
	e.Edit(t, "pipeline.yaml", "plugin: keyword", "plugin: keywrd")
	e.reload(t, http.StatusUnprocessableEntity)
	e.Write(t, "pipeline.yaml", taken) // the command reads it, too
	e.says(t, "几点开门", "每天 10 点到 21 点营业。")
	e.Write(t, "pipeline.yaml", before)
	e.reload(t, http.StatusOK)
	e.says(t, "几点开门", "每天 9 点到 21 点营业。")
}

// With the old handler down, users are told so; what was taken over goes on, and
// all of it when the old one is back.
func (e *example) oldIsDown(t *testing.T) {
	e.old.Kill()
	for range 7 {
		e.says(t, "价格", "系统繁忙，请稍后再试")
	}
	if got := e.Ask(t, "shop", "--event", "subscribe", "--user", "oNew"); got != "欢迎来到小店！" {
		t.Errorf("who follows is told %q", got)
	}
	if _, text := e.HTTP(t, http.MethodGet, admin+"/metrics"); !strings.Contains(text, "weft_upstream_open{upstream=\"old\"} 1\n") {
		t.Error("the metrics don't say that the old handler is away")
	}
	e.startOld(t)
	run.Until(t, "the old handler is back", func() bool { return e.Ask(t, "shop", "--text", "价格") == "价目表见官网。" })
}
