package config_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weft-dev/weft/runtime/config"
)

func TestSalvage(t *testing.T) {
	opt := config.Options{Getenv: func(name string) (string, bool) { return "/env", name == "DIR" }}
	block := `weft: 1
server:
  listen: x
  data: "${DIR}/data" # here
apps:
  # a comment
  shop:
    type: official
    callback_path: /wechat/shop
    with:
      plugin: { x: 1 }
  mini: { type: miniprogram, callback_path: '/wechat/mini', token: t }
  Bad: {}
plugins:
  data: { source: x }
`
	for _, c := range []struct{ name, src, want string }{
		{"good", block, "/env/data [{shop /wechat/shop} {mini /wechat/mini}]"},
		{"no YAML", block + "pipeline: [\n", "/env/data [{shop /wechat/shop} {mini /wechat/mini}]"},
		{"no YAML in an app", strings.Replace(block, "type: official", "type: [official", 1), "/env/data [{shop /wechat/shop} {mini /wechat/mini}]"},
		{"flow style", `{ server: { data: ./d }, apps: { a: { callback_path: /x, token: 1 }, "b": x } }`, "conf/d [{a /x} {b }]"},
		{"flow style, no YAML", "server: { data: d, listen: [ }\napps: { a: {} }\n", "conf/d []"},
		{"variable that is not set", "server: { data: \"${NONE}/x\" }\n", " []"},
		{"NUL by a variable", "server:\n  data: \"a\x00\"\n  x: [\n", " []"},
		{"another kind", "server: []\napps: [ a ]\n", " []"},
		{"nothing", "", " []"},
		{"a list", "- a\n", " []"},
		{"an alias of itself", "apps: &a { x: *a }\n", " [{x }]"},
		{"other characters", "apps:\n  \xff: [\n  ok:\n", " [{ok }]"},
		{"a path that is none", "apps:\n  a: { callback_path: \"//\" }\n", " [{a }]"},
	} {
		got := config.Salvage("conf/p.yaml", []byte(c.src), opt)
		if text := fmt.Sprint(filepath.ToSlash(got.Data), " ", got.Apps); text != c.want {
			t.Errorf("%s: got %s, want %s", c.name, text, c.want)
		}
	}
	if got := config.Salvage("p.yaml", make([]byte, config.MaxFile+1), opt); got.Apps != nil || got.Data != "" {
		t.Errorf("a file that is too large: %v", got)
	}
}

// FuzzSalvage: of whatever a file holds, what is told of it is bounded and has
// the form of names and paths; what Parse takes is found in full.
func FuzzSalvage(f *testing.F) {
	f.Add(includeRoot)
	f.Add(unit("a", ", callback_path: /x") + "pipeline: [\n")
	f.Add("server:\n  data: 'x'\napps:\n a:\n  b: [\n")
	f.Fuzz(func(t *testing.T, src string) {
		got := config.Salvage("p.yaml", []byte(src), config.Options{})
		known := map[config.SalvagedApp]bool{}
		for _, a := range got.Apps {
			if a.Name == "" || len(a.Name) > 63 || strings.ContainsAny(a.Name+a.CallbackPath, " \n\x00\"") {
				t.Errorf("%+v", a)
			}
			known[a] = true
		}
		cfg, _ := config.Parse("p.yaml", []byte(src), config.Options{})
		if cfg == nil {
			return
		}
		for _, a := range cfg.Apps {
			if !known[config.SalvagedApp{Name: a.Name, CallbackPath: a.CallbackPath}] && !strings.Contains(src, "$") && !strings.Contains(src, "*") && !strings.Contains(src, "?") {
				t.Errorf("app %s %q is not found", a.Name, a.CallbackPath)
			}
		}
	})
}
