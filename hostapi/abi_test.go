package hostapi_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weft-dev/weft/hostapi"
)

func readABI(t *testing.T) string {
	t.Helper()
	src, err := os.ReadFile("ABI.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(src)
}

// TestABI holds the tables of ABI.md to the constants.
func TestABI(t *testing.T) {
	doc := readABI(t)
	want := []string{
		fmt.Sprintf("| `InitialBuffer` | %d |", hostapi.InitialBuffer),
		fmt.Sprintf("| `MaxReply` | %d |", hostapi.MaxReply),
		fmt.Sprintf("| `MaxAnnotations` | %d |", hostapi.MaxAnnotations),
		fmt.Sprintf("| `MaxAnnotationName` | %d |", hostapi.MaxAnnotationName),
		fmt.Sprintf("| `MaxAnnotationValue` | %d |", hostapi.MaxAnnotationValue),
		fmt.Sprintf("| `MaxText` | %d |", hostapi.MaxText),
		fmt.Sprintf("| `MaxStateKey` | %d |", hostapi.MaxStateKey),
		fmt.Sprintf("| `MaxStateValue` | %d |", hostapi.MaxStateValue),
		fmt.Sprintf("| `MaxStateOnce` | %d |", hostapi.MaxStateOnce),
		fmt.Sprintf("| `MaxStateOps` | %d |", hostapi.MaxStateOps),
		fmt.Sprintf("| `DefaultStateQuota` | %d |", hostapi.DefaultStateQuota),
		fmt.Sprintf("| `MaxCalls` | %d |", hostapi.MaxCalls),
		fmt.Sprintf("| `MaxCallBody` | %d |", hostapi.MaxCallBody),
		fmt.Sprintf("| `MaxCallAnswer` | %d |", hostapi.MaxCallAnswer),
		fmt.Sprintf("| `MaxFetchAnswer` | %d |", hostapi.MaxFetchAnswer),
		fmt.Sprintf("| `MaxCallPath` | %d |", hostapi.MaxCallPath),
		fmt.Sprintf("| `MaxCallQuery` | %d |", hostapi.MaxCallQuery),
		fmt.Sprintf("| `MaxCallHeaders` | %d |", hostapi.MaxCallHeaders),
		fmt.Sprintf("| `MaxCallFields` | %d |", hostapi.MaxCallFields),
		fmt.Sprintf("| `MaxCallKey` | %d |", hostapi.MaxCallKey),
		fmt.Sprintf("| %d | next:", hostapi.Next),
		fmt.Sprintf("| %d | done:", hostapi.Done),
		fmt.Sprintf("| %d | error:", hostapi.Failed),
		fmt.Sprintf("`level`: %d debug, %d info, %d warn, %d error", hostapi.LevelDebug, hostapi.LevelInfo, hostapi.LevelWarn, hostapi.LevelError),
		fmt.Sprintf("| `GET` %d |", hostapi.StateGet),
		fmt.Sprintf("| `SET` %d |", hostapi.StateSet),
		fmt.Sprintf("| `DELETE` %d |", hostapi.StateDelete),
		fmt.Sprintf("| `ADD` %d |", hostapi.StateAdd),
		fmt.Sprintf("| `COMPARE_AND_SET` %d |", hostapi.StateCompareAndSet),
	}
	for s := hostapi.OK; s <= hostapi.Upstream; s++ {
		want = append(want, fmt.Sprintf("| %d | %s |", s, s))
	}
	for _, name := range []string{
		hostapi.ExportMarker, hostapi.ExportBuffer, hostapi.ExportHandle, hostapi.ExportStart,
		hostapi.ExportCheck, hostapi.ExportInitialize,
	} {
		want = append(want, "| `"+name+"` | `(")
	}
	for _, line := range want {
		if !strings.Contains(doc, line) {
			t.Errorf("ABI.md has no %q", line)
		}
	}
}

// TestABIDrawings encodes the messages that ABI.md draws, and looks at what of
// them the drawing of state says.
func TestABIDrawings(t *testing.T) {
	for want, m := range map[string]codec{
		"R\x02hi":            &hostapi.Event{Content: "hi"},
		"\x0a\x04\x0a\x02ok": &hostapi.Reply{Text: &hostapi.Text{Content: "ok"}},
		"\x08\x01\x1a\x01n":  &hostapi.StateRequest{Op: hostapi.StateGet, Key: "n"},
		"\x0a\x017\x18\x01":  &hostapi.StateResponse{Value: []byte("7"), Found: true},

		"\x0a\x03GET\x12\x02/a":          &hostapi.APIRequest{Method: "GET", Path: "/a"},
		"\x08\xc8\x01\x12\x02{}":         &hostapi.APIResponse{Status: 200, Body: []byte("{}")},
		"\x0a\x01o\x12\x03GET\x1a\x02/a": &hostapi.FetchRequest{Upstream: "o", Method: "GET", Path: "/a"},
		"\x08\x94\x03":                   &hostapi.FetchResponse{Status: 404},
	} {
		if got := string(m.Append(nil)); got != want {
			t.Errorf("%+v: %q, ABI.md draws %q", m, got, want)
		}
	}
	for _, part := range []string{
		"0x08, 1,  0x1a, 1, 'n',", "0x0a, 1, '7',  0x18, 1,", "length=5", "returns 5:",
		"0x0a, 3, 'G', 'E', 'T',  0x12, 2, '/', 'a',", "0x08, 0xc8, 1,  0x12, 2, '{', '}',", "req_len=9", "length=7",
		"0x0a, 1, 'o',  0x12, 3, 'G', 'E', 'T',  0x1a, 2, '/', 'a',", "0x08, 0x94, 3,", "req_len=12", "length=3",
	} {
		if !strings.Contains(readABI(t), part) {
			t.Errorf("ABI.md draws no %q", part)
		}
	}
}

// TestABIGuestInC compiles the guest of ABI.md with its own command.
func TestABIGuestInC(t *testing.T) {
	for _, tool := range []string{"clang", "wasm-ld"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed", tool)
		}
	}
	_, code, ok := strings.Cut(readABI(t), "```c\n")
	code, rest, closed := strings.Cut(code, "```\n")
	_, command, found := strings.Cut(rest, "    clang ")
	command, _, _ = strings.Cut(command, "\n")
	if !ok || !closed || !found {
		t.Fatal("ABI.md has no guest in C, or no command for it")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "echo.c"), []byte(code), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "clang", append([]string{"-Wall", "-Wextra", "-Werror"}, strings.Fields(command)...)...)
	cmd.Dir = dir
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, text)
	}
	if _, err := os.Stat(filepath.Join(dir, "echo.wasm")); err != nil {
		t.Error(err)
	}
}
