package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// answersConfig answers without a plugin.
const answersConfig = `
weft: 1
server: { listen: "127.0.0.1:0", admin: "127.0.0.1:0", data: ./data }
apps:
  shop: { type: official, app_id: ` + testAppID + `, token: "${TOKEN:-` + testToken + `}", encoding_aes_key: ` + testAESKey + `, mode: encrypted }
pipeline:
  stages:
    - switch:
        - { when: 'content startsWith "news"', stages: [ { name: news, reply: { news: { articles: [ { title: T, url: "https://example.com" } ] } } } ] }
        - { when: 'type == "text"', stages: [ { name: text, reply: { text: "read ]]> twice" } } ] }
        - { when: 'event == "CLICK" && key == "k1" && user == "oClicker"', stages: [ { name: click, reply: { text: clicked } } ] }
        - { when: 'type == "location"', stages: [ { name: location, reply: { text: located } } ] }
`

// TestCallbackCommand sends callbacks of each kind to a host, as a user would.
func TestCallbackCommand(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "pipeline.yaml")
	if err := os.WriteFile(file, []byte(answersConfig), 0o600); err != nil {
		t.Fatal(err)
	}
	h := startHost(t, dir, weftBinary(t), "serve")
	url := h.url + "/wx/shop"
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>\x1b[31m") }))
	defer page.Close()
	location := "<xml><ToUserName>gh</ToUserName><FromUserName>o1</FromUserName><CreateTime>1</CreateTime><MsgType>location</MsgType><MsgId>1</MsgId></xml>"
	inJSON := `{"ToUserName":"gh","FromUserName":"o1","CreateTime":1,"MsgType":"location","MsgId":2}`
	for _, c := range []struct {
		name   string
		args   []string
		in     string
		status int
		out    string
		err    string
	}{
		{"text", []string{"--text", "a ]]> b"}, "", 0, "read ]]> twice\n", ""},
		{"raw", []string{"--text", "x", "--raw"}, "", 0, "<MsgType><![CDATA[text]]></MsgType>", ""},
		{"not a text", []string{"--text", "news"}, "", 0, "<Title><![CDATA[T]]></Title>", ""},
		{"event", []string{"--event", "CLICK", "--key", "k1", "--user", "oClicker"}, "", 0, "clicked\n", ""},
		{"nothing to say", []string{"--event", "subscribe"}, "", 0, "success\n", ""},
		{"a document", []string{"--xml", "-"}, location, 0, "located\n", ""},
		{"a document in JSON", []string{"--xml", "-"}, inJSON, 0, "located\n", ""},
		{"no such file", []string{"--xml", filepath.Join(dir, "none.xml")}, "", 1, "", "reading the document"},
		{"no such app", []string{"--app", "shopp", "--text", "x"}, "", 1, "", `no app "shopp": there is shop`},
		{"no such path", []string{"--text", "x", "--url", h.url + "/nowhere"}, "", 1, "", "answered 404 Not Found: there is no such app or path (not_found, trace "},
		{"nobody there", []string{"--text", "x", "--url", "http://127.0.0.1:1/wx/shop"}, "", 1, "", "is `weft serve` running there?"},
		{"a user and a query of the address's own", []string{"--text", "x", "--url", strings.Replace(url, "//", "//u:hidden@", 1) + "?a=hidden"}, "", 0, "read ]]> twice\n", ""},
		{"a secret in a wrong address", []string{"--text", "x", "--url", strings.Replace(h.url, "//", "//u:hidden@", 1) + "/nowhere?a=hidden"}, "", 1, "", h.url + "/nowhere answered 404"},
		{"another scheme", []string{"--text", "x", "--url", "ftp://h/hidden"}, "", 2, "", "give http://HOST:PORT/PATH"},
		{"no Weft there", []string{"--text", "x", "--url", page.URL}, "", 1, "", `it begins with "<html>\x1b[31m`},
		{"no address", []string{"--text", "x", "--url", "shop"}, "", 2, "", "give http://HOST:PORT/PATH"},
		{"address that is not known", []string{"--text", "x", "--url", ""}, "", 1, "", "give the address with --url"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out, errs strings.Builder
			args := append([]string{"callback", "-c", file, "--url", url, "--app", "shop"}, c.args...)
			status := Run(t.Context(), args, Stdio{In: strings.NewReader(c.in), Out: &out, Err: &errs})
			if status != c.status || !strings.Contains(out.String(), c.out) || !strings.Contains(errs.String(), c.err) {
				t.Errorf("status %d, output %q, errors %q", status, out.String(), errs.String())
			}
			if strings.Contains(errs.String(), "hidden") || strings.Contains(errs.String(), "msg_signature") {
				t.Errorf("the error holds the query or the password: %s", errs.String())
			}
		})
	}
	t.Run("wrong token", func(t *testing.T) {
		t.Setenv("TOKEN", "anotherToken")
		var out, errs strings.Builder
		status := Run(t.Context(), []string{"callback", "-c", file, "--url", url, "--app", "shop", "--text", "x"}, Stdio{Out: &out, Err: &errs})
		if status != statusWrong || !strings.Contains(errs.String(), "403 Forbidden: the request is not authentic") ||
			!strings.Contains(errs.String(), "the host has another token") || strings.Contains(errs.String(), "anotherToken") {
			t.Errorf("status %d, %q", status, errs.String())
		}
	})
	if err := h.terminate(); err != nil {
		t.Errorf("weft serve after SIGTERM: %v, want exit status 0", err)
	}
}
