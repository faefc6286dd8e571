package server

import (
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
)

// TestDoctorDomainFiles: the check files are looked for where WeChat does.
func TestDoctorDomainFiles(t *testing.T) {
	answers := map[string]string{"/MP_verify_a1.txt": "a1\n", "/9Zx.txt": "0123"}
	asked := map[string]int{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked[r.Host+r.URL.Path]++
		switch content, ok := answers[r.URL.Path]; {
		case content == "away":
			http.Redirect(w, r, "https://evil.invalid/s3cretPlace", http.StatusFound)
		case ok:
			_, _ = w.Write([]byte(content))
		default:
			http.NotFound(w, r)
		}
	}))
	defer srv.Close()
	pages := strings.Replace(srv.URL, "127.0.0.1", "localhost", 1)
	c := newClinic(t)
	look := func(more string) Finding {
		t.Helper()
		file := writeConfig(t, "apps:\n"+c.app("shop", testSecret, more)+clinicPipeline)
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.Replace(string(src), "drain: 5s", "drain: 5s, public: \""+srv.URL+"\"", 1)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		found := c.lookAt(t, file, DoctorOptions{})
		return finding(t, found, "shop", "domain_files")
	}
	const files = ", domain_files: { MP_verify_a1.txt: a1, 9Zx.txt: \"0123\" }"
	look(files).holds(t, FindingFine, srv.URL)
	answers["/9Zx.txt"] = "s3cretPlace"
	f := look(files)
	f.holds(t, FindingWarning, "/9Zx.txt", "something else")
	if strings.Contains(f.Text+f.Advice, "s3cretPlace") {
		t.Errorf("what was answered is told: %+v", f)
	}
	answers["/9Zx.txt"] = "away"
	look(files).holds(t, FindingWarning, "/9Zx.txt", "status 302")
	delete(answers, "/9Zx.txt")
	look(files).holds(t, FindingWarning, "/9Zx.txt", "status 404")

	// Where the pages are, WeChat looks for its own files only.
	answers["/9Zx.txt"] = "0123"
	clear(asked)
	found := c.look(t, "apps:\n"+c.app("shop", testSecret, files+", jsapi: { hosts: [ \""+pages+"\" ] }"), DoctorOptions{})
	finding(t, found, "shop", "domain_files").holds(t, FindingFine, pages)
	if at := strings.TrimPrefix(pages, "http://"); len(asked) != 1 || asked[at+"/MP_verify_a1.txt"] != 1 {
		t.Errorf("asked for %v", asked)
	}
	found = c.look(t, "apps:\n"+c.app("shop", testSecret, files), DoctorOptions{})
	finding(t, found, "shop", "domain_files").holds(t, FindingLeftOut, "server.public")
	srv.Close()
	found = c.look(t, "apps:\n"+c.app("shop", testSecret, files+", jsapi: { hosts: [ \""+pages+"\" ] }"), DoctorOptions{})
	finding(t, found, "shop", "domain_files").holds(t, FindingWarning, "isn't reached")
}
