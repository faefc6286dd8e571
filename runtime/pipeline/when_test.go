package pipeline

import (
	"strings"
	"testing"
	"time"

	"github.com/expr-lang/expr/vm"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/runtime/config"
)

func whenEvent() *hostapi.Event {
	return &hostapi.Event{
		App: "shop", Type: "event", Event: "CLICK", Key: "menu_order", From: "oUser", To: "gh_1", User: "oUser",
		Created: 1357986928, Content: "你好 Weft", Origin: "wechat", Scene: "7",
		Fields: []hostapi.Field{
			{Name: "List[0].TemplateId", Value: "t1"},
			{Name: "ScanCodeInfo.ScanResult", Value: "1"},
			{Name: "Empty", Value: ""},
			{Name: "Score", Value: "12"},
			{Name: "Word", Value: "click"},
		},
	}
}

func evalWhen(t *testing.T, src string, ev *hostapi.Event, attrs ...hostapi.Field) (bool, error) {
	t.Helper()
	c, problems := compile(src, config.Pos{File: "p.yaml", Line: 3, Col: 13}, nil)
	if len(problems) > 0 {
		t.Fatalf("compile %s: %v", src, problems)
	}
	e := newEnv(&app{name: "shop", labels: map[string]string{"client": "acme"}}, ev)
	e.view.Attrs = attrs
	var machine vm.VM
	return c.eval(&machine, e)
}

func TestWhen(t *testing.T) {
	for src, want := range map[string]bool{
		`type == "event"`:                                     true,
		`type == "Event"`:                                     true,
		`"EVENT" == type`:                                     true,
		`event == "click"`:                                    true,
		`event != "click"`:                                    false,
		`event != "SCAN"`:                                     true,
		`event in ["scan", "Click"]`:                          true,
		`event not in ["scan", "Click"]`:                      false,
		`event in ["scan", key]`:                              false,
		`"Click" in [event]`:                                  true,
		`event in split("scan,Click", ",")`:                   true,
		`event == fields["Word"]`:                             true,
		`event == (hour < 24 ? "cLICK" : "x")`:                true,
		`event startsWith "CL"`:                               true,
		`event startsWith "cl"`:                               false,
		`event matches "^click$"`:                             false,
		`event matches "(?i)^click$"`:                         true,
		`key startsWith "menu_" && app == "shop"`:             true,
		`key == "MENU_ORDER"`:                                 false,
		`labels["client"] == "acme"`:                          true,
		`labels.client == "acme"`:                             true,
		`labels["none"] == ""`:                                true,
		`fields["List.TemplateId"] == "t1"`:                   true,
		`fields["List[0].TemplateId"] == "t1"`:                true,
		`fields["ScanCodeInfo[0].ScanResult"] == "1"`:         true,
		`fields["None"] == ""`:                                true,
		`fields.Score == "12"`:                                true,
		`int(fields["Score"]) > 9`:                            true,
		`"Empty" in fields`:                                   true,
		`"None" in fields`:                                    false,
		`"None" not in fields`:                                true,
		`attrs["tag"] == "vip"`:                               true,
		`attrs["list[0]"] == "x"`:                             true,
		`"tag" in attrs`:                                      true,
		`attrs["none"] == ""`:                                 true,
		`content contains "你好"`:                               true,
		`lower(content) contains "weft"`:                      true,
		`content | lower() | hasSuffix("weft")`:               true,
		`len(content) == 7`:                                   true,
		`content in ["人工", "客服"]`:                             false,
		`hour == 18`:                                          true, // 2013-01-12 18:35:28 in Shanghai
		`hour in 9..18`:                                       true,
		`weekday == 6`:                                        true,
		`weekday in [6, 7]`:                                   true,
		`created == 1357986928`:                               true,
		`from == user && to == "gh_1" && origin == "wechat"`:  true,
		`scene == "7"`:                                        true,
		`not (type == "text")`:                                true,
		`type == "text" or (event == "click" and hour > 100)`: false,
	} {
		t.Run(src, func(t *testing.T) {
			got, err := evalWhen(t, src, whenEvent(), hostapi.Field{Name: "tag", Value: "vip"}, hostapi.Field{Name: "list", Value: "x"})
			if err != nil || got != want {
				t.Errorf("got %v, %v; want %v", got, err, want)
			}
		})
	}
}

func TestWhenRefused(t *testing.T) {
	for src, want := range map[string]string{
		`key`:                             "when: expected bool, but got string",
		`attrs["x"]`:                      "expected bool",
		`SendPicsInfo.Count == "1"`:       `(a leaf of the callback is fields["SendPicsInfo.Count"]`,
		`true && List[0].Id == "1"`:       `fields["List[0].Id"]`,
		`Type == "text"`:                  "(did you mean type?)",
		`type = "text"`:                   "(== compares)",
		`key == 1001`:                     `(texts are quoted, numbers are not: key == "1001", hour >= 9)`,
		`hour == "9"`:                     `(texts are quoted, numbers are not: key == "1001", hour >= 9)`,
		`content == “人工”`:                 `(that is a full-width quote: write ")`,
		`content == ＂人工＂`:                 `(that is a full-width quote: write ")`,
		`now().Hour() > 1`:                "unknown name now, at character 1 (functions of a when: len,",
		`any([1], # > 0)`:                 "any can't be used, at character",
		`let x = key; x == ""`:            "without let",
		`key matches content`:             "the pattern of matches must be a literal, at character 13",
		`key matches "("`:                 "missing closing )",
		`$env["key"] == "x"`:              "$env can't be used, at character 1",
		`len(fields) > 0`:                 `fields is looked up in by name, at character 5 (fields["Name"])`,
		`type == 5`:                       "mismatched types string and int",
		`type in 5`:                       "in[]",
		`key ==`:                          "unexpected token EOF",
		`content[`:                        "unexpected token",
		`repeat("x", 9) == ""`:            "unknown name repeat",
		`len(key | replace("a","b")) > 0`: "replace",
		`weekday == 1` + strings.Repeat(` || weekday == 1`, 300): "exceeds maximum allowed nodes",
	} {
		t.Run(src[:min(len(src), 40)], func(t *testing.T) {
			c, problems := compile(src, config.Pos{File: "p.yaml", Line: 3, Col: 13}, nil)
			if c != nil || problems.Err() == nil {
				t.Fatal("accepted")
			}
			if text := problems.Error(); !strings.Contains(text, want) || !strings.HasPrefix(text, "p.yaml:3:13: when: ") || strings.Contains(text, "\n") {
				t.Errorf("got %s\nwant %s", text, want)
			}
		})
	}
}

func TestWhenUnknownWords(t *testing.T) {
	known := func(w string) bool { return strings.EqualFold(w, "text") || strings.EqualFold(w, "SCAN") }
	for src, want := range map[string]int{
		`type == "TEXT"`:                 0,
		`type == "txet"`:                 1,
		`event in ["scan", "sacn", "x"]`: 2,
		`key == "whatever"`:              0,
		`event == ""`:                    0,
		`"voise" != type`:                1,
	} {
		c, problems := compile(src, config.Pos{Line: 1, Col: 1}, known)
		if c == nil || problems.Err() != nil || len(problems) != want {
			t.Errorf("%s: %d problems, want %d: %v", src, len(problems), want, problems)
		}
	}
}

func TestWhenRunTimeError(t *testing.T) {
	ev := whenEvent()
	ev.Content = "secret words"
	_, err := evalWhen(t, `int(content) > 3`, ev)
	if err == nil || reasonOf(err) != "when" || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v", err)
	}
	if !strings.Contains(err.Error(), "character 1)") {
		t.Errorf("no place in %v", err)
	}
	if _, err = evalWhen(t, `len(1..created) > 3`, ev); err == nil {
		t.Error("a list over the memory budget was made")
	}
}

func TestShanghai(t *testing.T) {
	zone := time.FixedZone("", 8*3600)
	for _, unix := range []int64{0, -1, -3600 * 8, -3600*8 - 1, 1357986928, 4102444800, -62135596800, 1700000000, 57599, 57600} {
		at := time.Unix(unix, 0).In(zone)
		weekday := int(at.Weekday())
		if weekday == 0 {
			weekday = 7
		}
		if h, w := shanghai(unix); h != at.Hour() || w != weekday {
			t.Errorf("%d: %d, %d; want %d, %d", unix, h, w, at.Hour(), weekday)
		}
	}
}

// The deepest conditions that a file can have are refused, or decided.
func TestWhenIsBounded(t *testing.T) {
	for _, src := range []string{
		strings.Repeat("(", config.MaxWhen), strings.Repeat("!", config.MaxWhen), strings.Repeat("[", config.MaxWhen), strings.Repeat("lower(", config.MaxWhen/6),
	} {
		if c, problems := compile(src, config.Pos{}, nil); c != nil || problems.Err() == nil {
			t.Errorf("%.9s… is taken", src)
		}
	}
	for src, taken := range map[string]bool{
		`content matches "^[\\p{L}\\p{N}]{1,100}$" && key matches "(.{5}){200}$"`:   true,
		`content matches "(.*){1000}" || !(key matches "(xy){1000}" && type == "")`: false,
		`content matches "` + strings.Repeat("(.*){1000}", 3) + `"`:                 false,
	} {
		if _, problems := compile(src, config.Pos{}, nil); (problems.Err() == nil) != taken || !taken && !strings.Contains(problems.Error(), "the patterns are too large") {
			t.Errorf("%.50s… is taken: %v, want %v: %v", src, !taken, taken, problems)
		}
	}
	long := `content matches "` + strings.Repeat("(.*){1000}", 3000) + `"` // too large for regexp
	if _, problems := compile(long, config.Pos{}, nil); problems.Err() == nil || len(problems.Error()) > 500 {
		t.Errorf("%.600s", problems.Error())
	}
	n := (config.MaxWhen - 4) / 2
	c, problems := compile(strings.Repeat("(", n)+"true"+strings.Repeat(")", n), config.Pos{}, nil)
	if problems.Err() != nil {
		t.Fatal(problems)
	}
	if ok, err := c.eval(new(vm.VM), newEnv(&app{}, event("e1"))); !ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
}
