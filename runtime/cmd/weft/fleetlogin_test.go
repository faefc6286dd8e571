package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/simulator"
	"github.com/weft-dev/weft/runtime/store/redis/redistest"
)

// rotatedWithin is how soon after the death of a node its sessions go on elsewhere.
const rotatedWithin = 5 * time.Second

// post sends JSON to a host and reads what it answers.
func (f *fleet) post(t *testing.T, h *host, path string, body, answer any) int {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := h.client.Post(h.url+path, "application/json", bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(f.said, resp.StatusCode, resp.Header, string(got))
	if resp.StatusCode == http.StatusOK {
		err = json.Unmarshal(got, answer)
	}
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode
}

// holder is the primary that has the only session there is.
func holder(t *testing.T, c *redistest.Nodes) *redistest.Node {
	t.Helper()
	for i := range 16 {
		key := fmt.Sprintf("weft:{b:session/shop/%x}:v", i)
		if n := c.Primary(key); n.Do("exists", key) == "1" {
			return n
		}
	}
	t.Fatal("no node has the session")
	return nil
}

// A user of a mini program logs in at one host; the node of the Redis Cluster that
// has the session is killed; another host rotates the refresh token.
func TestFleetLogin(t *testing.T) {
	c := redistest.StartCluster(t)
	section := fmt.Sprintf("redis: { mode: cluster, addrs: [ %q, %q, %q ] }", c.Addrs[0], c.Addrs[1], c.Addrs[3])
	f := newFleet(t, 2, simulator.Rules{}, section, "type: official", "type: miniprogram", "{ text: hello }", "{ transfer: {} }")
	type tokens struct {
		Token   string `json:"token"`
		Refresh string `json:"refresh_token"`
	}
	var first, next, third tokens
	code := f.wechat.NewCode(testAppID, simulator.LoginCode, "oLogin", "")
	if status := f.post(t, f.hosts[0], "/mp/shop/login", map[string]string{"code": code}, &first); status != http.StatusOK {
		t.Fatalf("login: %d", status)
	}
	holder(t, c).Kill()
	killed := time.Now()
	status := f.post(t, f.hosts[1], "/mp/shop/refresh", map[string]string{"refresh_token": first.Refresh}, &next)
	if took := time.Since(killed); status != http.StatusOK || took > rotatedWithin {
		t.Fatalf("rotated with %d, %v after the kill", status, took)
	} else {
		t.Logf("rotated %v after the kill", took)
	}
	if next.Token == "" || next.Refresh == "" || next.Refresh == first.Refresh {
		t.Error("there is no next pair")
	}
	for _, h := range f.hosts { // the first one was used: it ends the session everywhere
		if status := f.post(t, h, "/mp/shop/refresh", map[string]string{"refresh_token": first.Refresh}, &third); status != http.StatusUnauthorized {
			t.Errorf("a refresh token that was used: %d", status)
		}
	}
	if status := f.post(t, f.hosts[0], "/mp/shop/refresh", map[string]string{"refresh_token": next.Refresh}, &third); status != http.StatusUnauthorized {
		t.Errorf("the session after that: %d", status)
	}
}
