package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/store"
	"github.com/weft-dev/weft/runtime/store/bolt"
	"github.com/weft-dev/weft/runtime/store/storetest"
)

// ledgerConfig serves the ledger; slow runs outlive its answer_within.
const ledgerConfig = `
weft: 1
server: { listen: "127.0.0.1:0", admin: "127.0.0.1:0", data: ./data }
store: { embedded: {} }
apps:
  shop: { type: official, app_id: ` + testAppID + `, token: ` + testToken + `, encoding_aes_key: ` + testAESKey + `, mode: encrypted }
plugins:
  ledger: { source: ./ledger.wasm, grants: { state: true }, limits: { timeout: 5s, instances: 24 } }
pipeline:
  answer_within: 300ms
  on_error: { reply: { text: broken } }
  stages: [ { plugin: ledger } ]
`

// ledgerFolder returns a folder with the ledger and its pipeline.yaml.
func ledgerFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	wasm, err := os.ReadFile(buildGuest(t, "testdata/ledger"))
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"ledger.wasm": wasm, "pipeline.yaml": []byte(ledgerConfig)} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestKillLosesNothingAnswered kills the host in the middle of a load: each
// write whose event was answered is there afterwards, and each event that was
// acknowledged while it ran is run again.
func TestKillLosesNothingAnswered(t *testing.T) {
	dir := ledgerFolder(t)
	serve := []string{weftBinary(t), "serve", "-c", "pipeline.yaml"}
	rounds := []int64{1000}
	if os.Getenv("WEFT_BARS") != "" {
		rounds = []int64{1, 20, 50, 100, 200, 500, 1000, 1500, 2000, 5000}
	}
	var put, slow []string
	for round, enough := range rounds {
		h := startHost(t, dir, serve...)
		slow = append(slow, sendSlow(t, h, round, 20)...)
		answered := loadUntilKilled(h, round, enough, "put", func(key string) string { return "put " + key })
		if int64(len(answered)) < enough {
			t.Fatalf("the host answered %d puts before the kill, want %d at least", len(answered), enough)
		}
		put = append(put, answered...)
	}
	last := startHost(t, dir, serve...)
	ask := asker(t, last)
	for _, key := range put {
		if got := ask(key); got != "1" {
			t.Errorf("%s was answered before the kill; after it the store has %q", key, got)
		}
	}
	deadline := time.Now().Add(time.Minute)
	for _, key := range slow {
		got := ask(key)
		for got == "none" && time.Now().Before(deadline) {
			got = ask(key)
		}
		if got == "none" {
			t.Errorf("%s was acknowledged while it ran, and not run again after the kill", key)
		}
	}
	if err := last.terminate(); err != nil {
		t.Errorf("weft serve after SIGTERM: %v, want exit status 0\n%s", err, last.logs)
	}
}

// asyncStages has the ledger note beside the answer.
const asyncStages = `  stages:
    - { name: note, plugin: ledger, async: true, when: 'content startsWith "note "' }
    - { name: noted, reply: { text: noted }, when: 'content startsWith "note "' }
    - { name: ask, plugin: ledger, when: 'content startsWith "get "' }
`

// TestKillLosesNoAsyncStage kills the host in the middle of a load: each event
// that was answered has its async stage run, before the kill or after it.
func TestKillLosesNoAsyncStage(t *testing.T) {
	dir := ledgerFolder(t)
	config := strings.Replace(ledgerConfig, "  stages: [ { plugin: ledger } ]\n", asyncStages, 1)
	if err := os.WriteFile(filepath.Join(dir, "pipeline.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	serve := []string{weftBinary(t), "serve", "-c", "pipeline.yaml"}
	rounds := []int64{500}
	if os.Getenv("WEFT_BARS") != "" {
		rounds = []int64{1, 20, 50, 100, 200, 500, 1000}
	}
	var noted []string
	for round, enough := range rounds {
		h := startHost(t, dir, serve...)
		noted = append(noted, loadUntilKilled(h, round, enough, "note", func(string) string { return "noted" })...)
	}
	last := startHost(t, dir, serve...)
	ask := asker(t, last)
	deadline := time.Now().Add(2 * time.Minute)
	twice := 0
	for _, key := range noted {
		got := ask(key)
		for got == "none" && time.Now().Before(deadline) {
			got = ask(key)
		}
		switch got {
		case "1":
		case "none":
			t.Errorf("%s was answered, and its async stage did not run", key)
		default:
			twice++
		}
	}
	t.Logf("%d events in %d rounds; the async stage of %d ran more than once", len(noted), len(rounds), twice)
	if err := last.terminate(); err != nil {
		t.Errorf("weft serve after SIGTERM: %v, want exit status 0\n%s", err, last.logs)
	}
}

// sendSlow sends events that outlive answer_within, all at once, and returns
// the keys of those that were acknowledged. On a busy disk one may get 500
// instead; all would say that the host acknowledges nothing.
func sendSlow(t *testing.T, h *host, round, n int) []string {
	t.Helper()
	var mu sync.Mutex
	var keys []string
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			key := fmt.Sprintf("slow%d-%d", round, i)
			said, err := h.text("o"+key, fmt.Sprintf("9%d%04d", round, i), "slow "+key)
			if err != nil {
				t.Logf("%s: %v", key, err)
				return
			}
			if said != "" {
				t.Errorf("%s was answered %q, want success", key, said)
			}
			mu.Lock()
			defer mu.Unlock()
			keys = append(keys, key)
		})
	}
	all.Wait()
	if len(keys) == 0 {
		t.Error("no slow event was acknowledged")
	}
	return keys
}

// loadUntilKilled says verb and a key, from eight users at once, kills the host
// once enough were answered as want says, and returns the keys that were.
func loadUntilKilled(h *host, round int, enough int64, verb string, want func(key string) string) []string {
	var (
		mu       sync.Mutex
		answered []string
		count    atomic.Int64
		all      sync.WaitGroup
	)
	for user := range 8 {
		all.Go(func() {
			for i := 0; ; i++ {
				key := fmt.Sprintf("k%d-%d-%d", round, user, i)
				said, err := h.text(fmt.Sprintf("o%d", user), fmt.Sprintf("%d%02d%06d", user+1, round, i), verb+" "+key)
				if err != nil {
					return
				}
				if said != want(key) {
					continue // refused, so not written
				}
				mu.Lock()
				answered = append(answered, key)
				mu.Unlock()
				if count.Add(1) == enough {
					all.Go(h.kill) // the next host finds the store free
				}
			}
		})
	}
	all.Wait()
	return answered
}

// asker returns a function that reads a key through the ledger. A host that has
// just started, and runs what the last one left, may answer late: it is asked
// again.
func asker(t *testing.T, h *host) func(key string) string {
	n := 0
	return func(key string) string {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); ; {
			n++
			said, err := h.text("oAsker", fmt.Sprintf("7%07d", n), "get "+key)
			if err == nil && said != "" {
				return said
			}
			if time.Now().After(deadline) {
				t.Fatalf("get %s: no answer in time: %v\n%s", key, err, tail(h.logs.String()))
			}
		}
	}
}

// tail returns the end of a log that is worth showing.
func tail(s string) string {
	lines := strings.Split(s, "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "\n")
}

// TestAnsweredIsOnDisk traces the host's system calls: whatever an answer says
// was synced before the answer was written, and the file as it was at its last
// sync, opened again, has every answered write and every acknowledged event.
func TestAnsweredIsOnDisk(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("strace is not installed")
	}
	dir := ledgerFolder(t)
	trace := filepath.Join(dir, "trace")
	argv := append([]string{strace}, storetest.Strace(trace)...)
	h := startHost(t, dir, append(argv, weftBinary(t), "serve", "-c", "pipeline.yaml")...)
	const users, slow = 4, 5
	each := 5
	if os.Getenv("WEFT_BARS") != "" {
		each = 50
	}
	put, late := putEach(t, h, users, each)
	acknowledged := late + len(sendSlow(t, h, 0, slow))
	killTraced(t, h)

	file, err := os.Open(trace)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	calls, err := storetest.ReadTrace(file)
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for i := range each {
		for user := range users {
			keys = append(keys, fmt.Sprintf("k%d-%d", user, i))
		}
	}
	for i := range slow {
		keys = append(keys, fmt.Sprintf("slow0-%d", i))
	}
	seen := replayAnswers(t, h, calls, filepath.Join(dir, "data", bolt.FileName), keys)
	if len(seen.put) != put || seen.success != acknowledged {
		t.Errorf("the trace has %d answered puts and %d acknowledged events, want %d and %d", len(seen.put), seen.success, put, acknowledged)
	}
}

// putEach puts keys of so many users at once. It returns how many were answered
// within answer_within, and how many were acknowledged because they took longer,
// as they may on a busy machine.
func putEach(t *testing.T, h *host, users, each int) (answered, late int) {
	t.Helper()
	var inTime, after atomic.Int64
	var all sync.WaitGroup
	for user := range users {
		all.Go(func() {
			for i := range each {
				key := fmt.Sprintf("k%d-%d", user, i)
				said, err := h.text(fmt.Sprintf("o%d", user), fmt.Sprintf("%d%06d", user+1, i), "put "+key)
				switch {
				case err != nil:
					t.Logf("put %s: %v", key, err)
				case said == "":
					after.Add(1)
				default:
					inTime.Add(1)
				}
			}
		})
	}
	all.Wait()
	return int(inTime.Load()), int(after.Load())
}

// killTraced kills the host below strace, so that strace ends by itself with
// its file written.
func killTraced(t *testing.T, h *host) {
	t.Helper()
	pid := h.cmd.Process.Pid
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, child := range strings.Fields(string(children)) {
		n, err := strconv.Atoi(child)
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(n, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	<-h.exited
	h.exited <- nil
}

// answers is what the host had said by some point of a trace.
type answers struct {
	put     []string // keys
	success int
}

// replayAnswers opens each image of the store's file and checks it against all
// that had been answered by then. keys are all that may have been written.
func replayAnswers(t *testing.T, h *host, calls []storetest.Call, path string, keys []string) answers {
	t.Helper()
	var said answers
	for image := range storetest.SyncedImages(calls, path, nil, func(c storetest.Call) bool {
		return bytes.HasPrefix(c.Data, []byte("HTTP/1.1 200"))
	}) {
		for _, c := range image.Answers {
			_, body, _ := bytes.Cut(c.Data, []byte("\r\n\r\n"))
			plain, _, err := h.account.OpenReply(body)
			if err != nil {
				t.Fatalf("an answer of the trace: %v", err)
			}
			if _, key, found := strings.Cut(string(plain), "[put "); found {
				key, _, _ = strings.Cut(key, "]")
				said.put = append(said.put, key)
			} else {
				said.success++
			}
		}
		checkImage(t, image.File, said, keys)
	}
	return said
}

// checkImage opens a copy of the store's file and looks for what was said: each
// put that was answered, and of each event that was acknowledged its entry in
// the queue or, where it has ended since, what it wrote.
func checkImage(t *testing.T, file []byte, said answers, keys []string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, bolt.FileName), file, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := bolt.Open(t.Context(), bolt.Options{Dir: dir})
	if err != nil {
		t.Fatalf("after %d answers: %v", len(said.put), err)
	}
	for _, key := range said.put {
		if value, err := s.Get(t.Context(), "state/ledger/shop", "a/"+key); err != nil || string(value) != "1" {
			t.Errorf("%s had been answered, and the disk has %q, %v", key, value, err)
		}
	}
	kept := -len(said.put)
	for _, key := range keys {
		if _, err := s.Get(t.Context(), "state/ledger/shop", "a/"+key); err == nil {
			kept++
		} else if !errors.Is(err, store.ErrNotFound) {
			t.Error(err)
		}
	}
	if err := s.List(t.Context(), "events", 0, func(store.Info) bool { kept++; return true }); err != nil {
		t.Error(err)
	}
	if kept < said.success {
		t.Errorf("%d events had been acknowledged while they ran, and the disk has %d of them", said.success, kept)
	}
	if err := errors.Join(s.Close(), os.RemoveAll(dir)); err != nil {
		t.Error(err)
	}
}
