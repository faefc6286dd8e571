package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/server"
)

// queueConfig leaves an event to the queue where its text is no number.
const queueConfig = `
weft: 1
server: { listen: "127.0.0.1:0", admin: "127.0.0.1:0", data: ./data, drain: 0s }
apps:
  shop: { type: official, app_id: ` + testAppID + `, token: ` + testToken + `, encoding_aes_key: ` + testAESKey + `, mode: encrypted }
pipeline:
  stages:
    - { name: STAGE, when: 'int(content) > 0', reply: { text: done }, on_error: queue }
`

// adminURL is where the host's admin listener is.
func (h *host) adminURL() string {
	h.t.Helper()
	at := regexp.MustCompile(`"admin":"([^"]+)"`).FindStringSubmatch(h.logs.String())
	if at == nil {
		h.t.Fatalf("the log has no admin address:\n%s", h.logs)
	}
	return "http://" + at[1]
}

// TestQueueCommands lists, retries and drops dead entries of a host, as an
// operator would.
func TestQueueCommands(t *testing.T) {
	dir := t.TempDir()
	serve := func(stage string) (h *host, weft func(args ...string) (int, string, string)) {
		t.Helper()
		config := strings.Replace(queueConfig, "STAGE", stage, 1)
		if err := os.WriteFile(filepath.Join(dir, "pipeline.yaml"), []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		h = startHost(t, dir, weftBinary(t), "serve")
		return h, func(args ...string) (int, string, string) {
			t.Helper()
			var out, errs strings.Builder
			status := Run(t.Context(), append([]string{"queue", args[0], "--admin", h.adminURL()}, args[1:]...), Stdio{Out: &out, Err: &errs})
			return status, out.String(), errs.String()
		}
	}
	h, weft := serve("work")
	if status, out, errs := weft("list"); status != 0 || out+errs != "" {
		t.Errorf("an empty queue: %d %q %q", status, out, errs)
	}
	for _, id := range []string{"1", "2"} {
		if _, err := h.text("oSecretUser", id, "secretWords"); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.terminate(); err != nil {
		t.Fatal(err)
	}
	h, weft = serve("other") // the stage is no more
	h.waitDead(2)
	status, out, errs := weft("list", "--state", "dead")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	line := regexp.MustCompile(`^([0-9a-f]{32})  dead   shop  work   text   +\d+ +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  -     stage work of pipeline main is no more$`)
	if status != 0 || errs != "" || len(lines) != 3 || !strings.HasPrefix(lines[0], "KEY ") || !line.MatchString(lines[1]) || !line.MatchString(lines[2]) {
		t.Fatalf("%d %q\n%s", status, errs, out)
	}
	if strings.Contains(out, "ecret") {
		t.Errorf("says too much: %s", out)
	}
	key := line.FindStringSubmatch(lines[1])[1]
	var list server.QueueList
	if status, out, errs = weft("list", "--json", "--limit", "1", "--app", "shop"); status != 0 || errs != "" || json.Unmarshal([]byte(out), &list) != nil ||
		len(list.Entries) != 1 || list.Entries[0].Key != key || list.Next == "" {
		t.Errorf("%d %q\n%s", status, errs, out)
	}
	if status, out, errs = weft("list", "--limit", "1"); status != 0 || !strings.Contains(out, "There is more: --after "+list.Next+" goes on") {
		t.Errorf("%d %q\n%s", status, errs, out)
	}
	if status, out, errs = weft("drop", key, "nowhere"); status != 1 || out != "dropped: 1\n" ||
		errs != "weft queue drop: there is no dead entry nowhere: see weft queue list --state dead\n" {
		t.Errorf("%d %q %q", status, out, errs)
	}
	if status, out, errs = weft("retry", "--all", "--stage", "work", "--json"); status != 0 || out != "{\"changed\":1}\n" || errs != "" {
		t.Errorf("%d %q %q", status, out, errs)
	}
	h.waitLog(3, "durable run given up") // still no such stage
	h.waitDead(1)
	if err := h.terminate(); err != nil {
		t.Fatal(err)
	}
	h, weft = serve("work")
	if status, out, errs = weft("retry", "--all"); status != 0 || out != "retried: 1\n" || errs != "" {
		t.Errorf("%d %q %q", status, out, errs)
	}
	h.waitLog(1, `"stage failed"`)
	if status, out, _ = weft("list", "--state", "dead"); status != 0 || out != "" {
		t.Errorf("%d %q", status, out)
	}
	for _, args := range [][]string{
		{"retry"}, {"drop"}, {"drop", "--all", "key"}, {"drop", "--app", "shop", "key"}, {"list", "key"}, {"list", "--state", "gone"}, {"list", "--limit", "0"},
	} {
		if status, out, errs := weft(args...); status != statusUsage || out != "" || strings.Count(errs, "\n") != 1 {
			t.Errorf("%v: %d %q %q", args, status, out, errs)
		}
	}
	if err := h.terminate(); err != nil {
		t.Fatal(err)
	}
	if status, _, errs = weft("list"); status != 1 || !strings.Contains(errs, "is `weft serve` running there?") {
		t.Errorf("%d %q", status, errs)
	}
}

// waitDead waits until the host's queue has so many dead entries.
func (h *host) waitDead(n int) {
	h.t.Helper()
	client, err := server.NewQueueClient("", h.adminURL(), "")
	if err != nil {
		h.t.Fatal(err)
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		list, err := client.List(h.t.Context(), server.QueueQuery{State: "dead"}, "", 10)
		if err != nil {
			h.t.Fatal(err)
		}
		if len(list.Entries) == n {
			return
		}
		select {
		case <-tick.C:
		case <-h.t.Context().Done():
			h.t.Fatalf("%d dead entries, want %d", len(list.Entries), n)
		}
	}
}

// waitLog waits until the host has logged a text so many times.
func (h *host) waitLog(times int, text string) {
	h.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for strings.Count(h.logs.String(), text) < times {
		select {
		case <-tick.C:
		case <-h.t.Context().Done():
			h.t.Fatalf("the log never said %s %d times:\n%s", text, times, h.logs)
		}
	}
}

// TestQueueTable holds that what came from outside moves no cursor.
func TestQueueTable(t *testing.T) {
	var out strings.Builder
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local)
	list := server.QueueList{Next: "9", Entries: []server.QueueEntry{{
		Key: "k1", State: "delayed", App: "shop", Stages: []string{"tags", "score"}, Type: "event", Event: "a\x1b[2Jb\tc\n", Appended: at, Next: &at,
	}}}
	if err := writeQueue(&out, list); err != nil {
		t.Fatal(err)
	}
	want := `KEY  STATE    APP   STAGE       EVENT      TRIES  CAME                 NEXT                 REASON
k1   delayed  shop  tags,score  a` + "\ufffd[2Jb\ufffdc\ufffd" + `  0      2026-01-02 03:04:05  2026-01-02 03:04:05  -
There is more: --after 9 goes on, --limit shows more at once.
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &out, want)
	}
}
