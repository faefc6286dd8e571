package main

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weft-dev/weft/runtime/simulator"
)

// TestDoctor: what an operator, and a program, gets to see of a WeChat that lets
// this machine call for one app only.
func TestDoctor(t *testing.T) {
	const secret = "s3cretOfTheApp"
	w := simulator.New(simulator.Options{})
	w.Set(simulator.App{ID: "wx1", Secret: secret})
	w.Set(simulator.App{ID: "wx2", Secret: secret, Allow: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
	srv := httptest.NewServer(w)
	t.Cleanup(func() { w.Close(); srv.Close() })
	file := filepath.Join(t.TempDir(), "pipeline.yaml")
	text := "weft: 1\nserver: { admin: \"127.0.0.1:1\" }\napps:\n"
	for i, name := range []string{"shop", "club"} {
		text += fmt.Sprintf("  %s: { type: official, app_id: wx%d, token: t, mode: plain, app_secret: %s, api_base: %q }\n", name, i+1, secret, srv.URL)
	}
	if err := os.WriteFile(file, []byte(text+"pipeline: { stages: [ { reply: { text: hello } } ] }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	doctor := func(want int, args ...string) string {
		t.Helper()
		var out, errs strings.Builder
		if status := Run(t.Context(), append([]string{"doctor", "-c", file}, args...), Stdio{Out: &out, Err: &errs}); status != want || errs.Len() > 0 {
			t.Fatalf("status %d, %s%s", status, out.String(), errs.String())
		}
		for _, s := range append(w.Issued(), secret) {
			if strings.Contains(out.String(), s) {
				t.Errorf("a secret is in\n%s", out.String())
			}
		}
		return out.String()
	}
	shown := doctor(statusWrong)
	for _, part := range []string{
		"\nfine      app shop: secret: WeChat takes app_id and app_secret\n",
		"\nwrong     app club: address: 127.0.0.1 is not on the account's IP allow-list (errcode 40164, rid ",
		"\n            to do: add 127.0.0.1 to it in the account's console",
		"\n1 wrong, 0 warnings\n",
	} {
		if !strings.Contains(shown, part) {
			t.Errorf("there is no %q in\n%s", part, shown)
		}
	}
	doctor(statusFine, "--app", "shop")
	var report doctorJSON
	if err := json.Unmarshal([]byte(doctor(statusWrong, "--json")), &report); err != nil {
		t.Fatal(err)
	}
	if report.Wrong != 1 || report.Warnings != 0 || len(report.Findings) < 8 {
		t.Errorf("got %+v", report)
	}
	for _, f := range report.Findings {
		if code := f.Errcode; f.App == "club" && f.Check == "address" && (code == nil || code.Code != 40164 || !strings.Contains(code.MeaningZH, "白名单") || code.Rid == "") {
			t.Errorf("got %+v", code)
		}
	}
}
