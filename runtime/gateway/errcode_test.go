package gateway

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// sections are the codes that the design names, by its sections.
func sections() map[string][]int {
	span := func(from, to int) (codes []int) {
		for c := from; c <= to; c++ {
			codes = append(codes, c)
		}
		return codes
	}
	return map[string][]int{
		"generic": {
			0, -1, -1000, 40035, 40097, 41011, 47001, 9001001, 61451, 40033, 47002, 43001, 43002, 43003, 44002, 9001002, 61450, 50003, 50004, 45501, 45102, 45103, 48009,
		},
		"token": slices.Concat([]int{40001, 40014, 42001, 41001, 40002, 40013, 40125, 40164, 45035, 41002, 41004, 40243, 42006, 42007, 42004, 42005, 42008, 42009, 61024}, span(89501, 89507)),
		"login": {40029, 40163, 42003, 41008, 40030, 42002, 41003, 40003, 49003, 50001, 50002, 40226, 87007, 87008, 87009, 45011, 63002},
		"limits": slices.Concat([]int{
			45009, 45011, 48006, 45047, 45015, 45066, 45065, 45067, 45028, 45093, 45029, 45026, 45010, 45018, 45056, 45057, 65305, 65316, 45080, 45081, 45072, 76021, 76022,
		}, span(45001, 45008)),
		"sending": slices.Concat([]int{
			40037, 47003, 41028, 41029, 41030, 43101, 43004, 43005, 43019, 46004, 48001, 48002, 48003, 48004, 48008, 50005, 40007, 46001, 41006, 44001, 44003, 44004, 45087, 45094, 87014,
			65413, 65414, 65415, 53500, 53501, 53502, 53600,
		}, span(43102, 43106), span(40004, 40006), span(40008, 40012), span(65301, 65317), span(61452, 61457)),
		"component": {61003, 61004, 61005, 61006, 61007, 61009, 61010, 61011, 61014, 61015, 61024, 61023, 40091, 40094, 89002, 89003, 89004},
		"local":     append(span(-40012, -40001), -41003),
	}
}

func TestCatalogueOfErrcodes(t *testing.T) {
	codes := Errcodes()
	if len(codes) < 180 || !slices.IsSorted(codes) || len(slices.Compact(slices.Clone(codes))) != len(codes) {
		t.Fatalf("%d codes, sorted: %v, or one stands twice", len(codes), slices.IsSorted(codes))
	}
	for section, list := range sections() {
		for _, code := range list {
			if !LookupErrcode(code).Known {
				t.Errorf("%s: %d is missing", section, code)
			}
		}
	}
	han := func(s string) bool {
		return strings.ContainsFunc(s, func(r rune) bool { return unicode.Is(unicode.Han, r) })
	}
	for _, code := range codes {
		e := LookupErrcode(code)
		if !e.Known || e.Code != code || e.Class == "" {
			t.Errorf("%d: %+v", code, e)
		}
		for _, text := range []Text{e.Meaning, e.Advice} {
			if text.English == "" || han(text.English) || !han(text.Chinese) || text.English != strings.TrimSpace(text.English) || strings.HasSuffix(text.English, ".") {
				t.Errorf("%d: %+v", code, text)
			}
		}
	}
	if unknown := LookupErrcode(99999999); unknown.Known || unknown.Class != ClassCaller || unknown.Meaning.English == "" || !han(unknown.Advice.Chinese) || unknown.Code != 99999999 {
		t.Errorf("unknown: %+v", unknown)
	}
}

// TestClasses holds the classes to the design's, and to what is repeated: only
// codes of ClassRefresh are repeated with another token, and all of them.
func TestClasses(t *testing.T) {
	for class, codes := range map[Class][]int{
		ClassOK:      {0},
		ClassRefresh: {40001, 40014, 42001},
		ClassBackoff: {-1, -1000, 45011, 61450, 9001002, 45066, 53501},
		ClassQuota:   {45009, 45028, 45093, 48006},
		ClassAsOK:    {45065, 45081},
		ClassUser:    {43004, 43019, 43101, 45015, 45047, 46004, 48002, 50005},
		ClassRelogin: {40029, 40030, 40163, 41003, 42002, 42003, 42007, 87007},
		ClassOperator: {
			40013, 40125, 40164, 40243, 45035, 48001, 48003, 48004, 48008, 45087, 45094, 45102, 45501, 50003, 50004, 53500, 61003, 61004, 61023,
			89002, 89003, 89004, 89501, 89502, 89503, 89504, 89505, 89506, 89507,
		},
	} {
		slices.Sort(codes)
		var got []int
		for _, code := range Errcodes() {
			if LookupErrcode(code).Class == class {
				got = append(got, code)
			}
		}
		if !slices.Equal(got, codes) {
			t.Errorf("%s: %v, want %v", class, got, codes)
		}
	}
}

func TestErrcodeHeaders(t *testing.T) {
	h := http.Header{}
	LookupErrcode(40001).SetHeader(h, "5f8a3b1c-0d0e5e3f-1a2b3c4d")
	if h.Get("Weft-Error-Class") != "refresh_once" || h.Get("Weft-Error-Code") != "40001" || h.Get("Weft-Error-Rid") != "5f8a3b1c-0d0e5e3f-1a2b3c4d" {
		t.Errorf("got %v", h)
	}
	for name, want := range map[string]string{
		"Weft-Error-Meaning": LookupErrcode(40001).Meaning.English, "Weft-Error-Meaning-Zh": LookupErrcode(40001).Meaning.Chinese,
		"Weft-Error-Advice": LookupErrcode(40001).Advice.English, "Weft-Error-Advice-Zh": LookupErrcode(40001).Advice.Chinese,
	} {
		value := h.Get(name)
		got, err := url.PathUnescape(value)
		if err != nil || got != want || strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r > '~' }) {
			t.Errorf("%s: %q, %v", name, value, err)
		}
	}
	h = http.Header{}
	LookupErrcode(12345).SetHeader(h, "")
	if _, ok := h["Weft-Error-Rid"]; ok || h.Get("Weft-Error-Class") != "caller_error" {
		t.Errorf("got %v", h)
	}
}

func TestRid(t *testing.T) {
	for msg, want := range map[string]string{
		"invalid credential rid: 5f8a3b1c-0d0e5e3f-1a2b3c4d":       "5f8a3b1c-0d0e5e3f-1a2b3c4d",
		"invalid openid, rid:5f8a3b1c-0d0e5e3f-1a2b3c4d, see more": "5f8a3b1c-0d0e5e3f-1a2b3c4d",
		"ok":                              "",
		"rid:":                            "",
		"rid: ñ":                          "",
		"rid: " + strings.Repeat("a", 65): "",
		"rid: a\r\nX: b":                  "a",
	} {
		if got := Rid(msg); got != want {
			t.Errorf("%q: %q", msg, got)
		}
	}
}

func TestReadErrcode(t *testing.T) {
	for answer, want := range map[string]said{
		`{"errcode":40001,"errmsg":"x rid: 1"}`:                       {40001, true, "x rid: 1"},
		"\xef\xbb\xbf \r\n{ \"errmsg\" : \"ok\" , \"errcode\" : 0 }":  {0, true, "ok"},
		`{"errcode":"-1","errmsg":""}`:                                {-1, true, ""},
		"{\"nickname\":\"a\nb\x00\xff\\\"}\",\"errcode\":45009,":      {45009, true, ""},
		`{"data":{"errcode":1,"x":["]}",{"errcode":2}]},"errcode":3}`: {3, true, ""},
		`{"list":[{"errcode":1}],"total":2}`:                          {},
		`{"base_resp":{"errcode":-1,"errmsg":"busy"}}`:                {-1, true, "busy"},
		`{"base_resp":{"errcode":-1,"errmsg":"busy"},"errcode":0}`:    {0, true, ""},
		`{"base_resp":{"base_resp":{"errcode":5}}}`:                   {},
		`{"ErrCode":0,"ErrMsg":"success"}`:                            {0, true, ""},
		`{"errcode":400`:                                              {},
		`{"errcode":40001`:                                            {},
		`{"errcode":40001,"errmsg":"cut of`:                           {40001, true, ""},
		`{"errcode":[40001]}`:                                         {},
		`{"errcode":null,"a":1}`:                                      {},
		`{"errcode":{"errcode":7},"errcode":8}`:                       {8, true, ""},
		`{"errcode":99999999999999999999999}`:                         {},
		`[{"errcode":1}]`:                                             {},
		`<xml><errcode>1</errcode></xml>`:                             {},
		``:                                                            {},
		`{`:                                                           {},
		`{}`:                                                          {},
		`{"a"}`:                                                       {},
		`{"a":true,"b":1.5e3,"c":"\\","errcode":48001,"errmsg":"\"rid: 7"}`: {48001, true, `\"rid: 7`},
	} {
		if got := readErrcode([]byte(answer)); got != want {
			t.Errorf("%q: %+v", answer, got)
		}
	}
}

// TestReadErrcodeOfSamples reads real answers.
func TestReadErrcodeOfSamples(t *testing.T) {
	dir := os.Getenv("WEFT_VECTORS")
	if dir == "" {
		t.Skip("WEFT_VECTORS is not set")
	}
	text, err := os.ReadFile(filepath.Join(dir, "api_responses.json"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Cases []struct {
			Name   string
			Expect json.RawMessage
		}
	}
	if err := json.Unmarshal(text, &file); err != nil || len(file.Cases) < 40 {
		t.Fatalf("%d cases, %v", len(file.Cases), err)
	}
	for _, c := range file.Cases {
		var want struct{ Errcode *int }
		if err := json.Unmarshal(c.Expect, &want); err != nil {
			continue // no object
		}
		got := readErrcode(c.Expect)
		if got.found != (want.Errcode != nil) || got.found && got.code != *want.Errcode {
			t.Errorf("%s: %+v", c.Name, got)
		}
	}
}

// FuzzReadErrcode: it ends, stays within what it got, and reads what a strict
// reader reads.
func FuzzReadErrcode(f *testing.F) {
	for _, s := range []string{
		`{"errcode":40001,"errmsg":"x rid: 1"}`, `{"base_resp":{"errcode":"-1"}}`, `{"a":[{"b":"]"}],"errcode":0}`, `{"errcode":`, "{\"\\", `{"errcode":{"a":1}}`, `{,}`, `{:}`,
	} {
		f.Add([]byte(s))
	}
	odd := regexp.MustCompile(`(?i)base_resp|errcode.*errcode|\\`) // where a strict reader decides otherwise
	f.Fuzz(func(t *testing.T, b []byte) {
		got := readErrcode(b)
		var strict map[string]json.RawMessage
		if odd.Match(b) || json.Unmarshal(b, &strict) != nil || strict == nil {
			return
		}
		for key, value := range strict {
			var code int
			if strings.EqualFold(key, "errcode") && json.Unmarshal(value, &code) == nil && string(value) != "null" {
				if !got.found || got.code != code {
					t.Fatalf("%q: %+v", b, got)
				}
			}
		}
	})
}
