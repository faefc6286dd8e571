package main

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"maps"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/weft-dev/weft/runtime/simulator"
	"github.com/weft-dev/weft/runtime/store/redis/redistest"
)

// What the hosts of a fleet know and must not tell.
const (
	fleetSecret   = "TheAppSecretOfTheFleet0123456789"
	fleetWrong    = "AnotherSecretThanWeChatHas012345" // of a host that WeChat refuses
	fleetCaller   = "wk_TheKeyOfACallerOfTheFleet0123"
	fleetPassword = "ThePasswordOfTheFleetsRedis01234"
	fleetAdmin    = "TheAdminTokenOfTheFleet012345678"
	fleetKey      = "TheServerKeyOfTheFleet, 32 bytes"
)

// inFull says whether a test is to show what the bar is, and takes its time.
func inFull() bool { return os.Getenv("WEFT_BARS") != "" }

// either is the number for a shortened test, or that of the bar.
func either[N any](short, full N) N {
	if inFull() {
		return full
	}
	return short
}

// fleet is hosts of one configuration with one Redis and one fake WeChat. The
// hosts and Redis are processes of their own.
type fleet struct {
	t      *testing.T
	wechat *simulator.WeChat
	front  *front
	said   *lockedBuffer     // what callers were told that isn't a credential
	files  map[string][]byte // beside each pipeline.yaml

	mu    sync.Mutex
	hosts []*host // by place; one that was killed stays until another has its place
	dirs  []string
	all   []*host // that ever ran
}

// newFleet starts so many hosts; change may change their configuration.
func newFleet(t *testing.T, hosts int, rules simulator.Rules, store string, change ...string) *fleet {
	t.Helper()
	f := &fleet{t: t, wechat: simulator.New(simulator.Options{}), said: &lockedBuffer{}}
	f.wechat.Set(simulator.App{ID: testAppID, Secret: fleetSecret, Rules: rules})
	f.front = newFront(f.wechat)
	at := httptest.NewServer(f.front)
	f.front.url = at.URL
	t.Cleanup(f.checkLeaks) // the last of all: the hosts have ended
	t.Cleanup(func() { f.wechat.Close(); at.CloseClientConnections(); at.Close() })
	config := strings.NewReplacer(change...).Replace(fleetConfig(at.URL, store))
	for range hosts {
		f.add(t, config)
	}
	return f
}

// oneRedis starts a Redis and returns the section of hosts that share it.
func oneRedis(t *testing.T) (*redistest.Node, string) {
	t.Helper()
	node := redistest.Start(t, "--requirepass", fleetPassword)
	return node, fmt.Sprintf(`redis: { addrs: [%q], password: %s }`, node.Addr, fleetPassword)
}

// fleetConfig is the configuration of all hosts.
func fleetConfig(wechat, store string) string {
	key := base64.StdEncoding.EncodeToString([]byte(fleetKey))
	sum := sha256.Sum256([]byte(fleetCaller))
	return fmt.Sprintf(`
weft: 1
server: { listen: "127.0.0.1:0", admin: "127.0.0.1:0", admin_token: %s, data: ./data, key: %q }
store: { %s }
apps:
  shop:
    { type: official, app_id: %s, token: %s, encoding_aes_key: %s, mode: encrypted, app_secret: %s, api_base: %q,
      api: { daily: { "/cgi-bin/user/*": 9000000 } } }
callers:
  crm: { key: "sha256:%s", apps: [shop], paths: [ "/cgi-bin/**" ], credential: [ access_token, jsapi_ticket ] }
pipeline: { stages: [ { reply: { text: hello } } ] }
`, fleetAdmin, key, store, testAppID, testToken, testAESKey, fleetSecret, wechat, hex.EncodeToString(sum[:]))
}

// add starts a further host.
func (f *fleet) add(t *testing.T, config string) {
	t.Helper()
	dir := t.TempDir()
	files := maps.Clone(f.files)
	if files == nil {
		files = map[string][]byte{}
	}
	files["pipeline.yaml"] = []byte(config)
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f.mu.Lock()
	f.dirs, f.hosts = append(f.dirs, dir), append(f.hosts, nil)
	f.mu.Unlock()
	f.start(t, len(f.dirs)-1)
}

// start starts a host at a place whose last one was killed.
func (f *fleet) start(t *testing.T, place int) {
	t.Helper()
	h := startHost(t, f.dirs[place], weftBinary(t), "serve", "-c", "pipeline.yaml")
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hosts[place], f.all = h, append(f.all, h)
}

// host is the one at a place.
func (f *fleet) host(place int) *host {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hosts[place%len(f.hosts)]
}

// at is the address of the host at a place.
func (f *fleet) at(place int) string { return f.host(place).url }

// placeOf finds the host that has the other end of a connection from addr.
func (f *fleet) placeOf(addr string) int {
	inode := socketAt(f.t, addr)
	f.mu.Lock()
	defer f.mu.Unlock()
	for place, h := range f.hosts {
		if hasSocket(h.cmd.Process.Pid, inode) {
			return place
		}
	}
	f.t.Fatalf("no host has a connection from %s", addr)
	return 0
}

// socketAt returns the inode of the TCP socket on loopback that is bound to addr.
func socketAt(t *testing.T, addr string) string {
	t.Helper()
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	var port int
	if _, err := fmt.Sscanf(addr, "127.0.0.1:%d", &port); err != nil {
		t.Fatalf("%s: %v", addr, err)
	}
	local := fmt.Sprintf("0100007F:%04X", port)
	for line := range strings.Lines(string(table)) {
		if words := strings.Fields(line); len(words) > 9 && words[1] == local {
			return words[9]
		}
	}
	t.Fatalf("there is no connection from %s", addr)
	return ""
}

// hasSocket tells whether a process has a socket open.
func hasSocket(pid int, inode string) bool {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	open, err := os.ReadDir(dir)
	if err != nil {
		return false // it has ended
	}
	for _, fd := range open {
		if to, err := os.Readlink(filepath.Join(dir, fd.Name())); err == nil && to == "socket:["+inode+"]" {
			return true
		}
	}
	return false
}

// secrets are what may be in no log, error or answer, by what each is.
func (f *fleet) secrets() map[string]string {
	all := map[string]string{
		fleetSecret: "app_secret", fleetWrong: "app_secret", fleetCaller: "a caller's key", fleetPassword: "the password of Redis", fleetAdmin: "server.admin_token",
		fleetKey: "server.key", base64.StdEncoding.EncodeToString([]byte(fleetKey)): "server.key", hex.EncodeToString([]byte(fleetKey)): "server.key",
		testAESKey: "encoding_aes_key",
	}
	for _, value := range f.wechat.Issued() {
		all[value] = "a token, ticket or secret of WeChat's"
	}
	return all
}

// checkLeaks searches for secrets in all that the hosts have written and in what
// callers were told, credentials apart.
func (f *fleet) checkLeaks() {
	secrets, size := f.secrets(), 0
	search := func(where, text string) {
		size += len(text)
		for _, what := range leaks(text, secrets) {
			f.t.Errorf("%s has %s", where, what)
		}
	}
	for _, h := range f.all {
		search("the output of a host", h.logs.String())
	}
	f.showTrouble()
	search("what callers were told", f.said.String())
	f.t.Logf("searched %d KiB of output for %d secrets", size>>10, len(secrets))
}

// showTrouble logs what the hosts of a failed test have warned of.
func (f *fleet) showTrouble() {
	if !f.t.Failed() {
		return
	}
	for i, h := range f.all {
		shown := 0
		for line := range strings.Lines(h.logs.String()) {
			if !strings.Contains(line, `"level":"INFO"`) && shown < 100 {
				shown++
				f.t.Logf("host %d: %s", i, line)
			}
		}
	}
}

// leaks finds which secrets a text has, a large part of one counts.
func leaks(text string, secrets map[string]string) []string {
	var found []string
	for value, what := range secrets {
		if strings.Contains(text, value[:min(len(value), 20)]) {
			found = append(found, what)
		}
	}
	return found
}
