package wechat

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weft-dev/weft/hostapi"
)

const mib = 1 << 20

// fill repeats s up to 1 MiB between two ends.
func fill(head, s, tail string) string {
	return head + strings.Repeat(s, (mib-len(head)-len(tail))/len(s)) + tail
}

// counted repeats a format with a number up to 1 MiB, n times at most.
func counted(n int, head, format, tail string) string {
	var b bytes.Buffer
	b.WriteString(head)
	for i := 0; i < n && b.Len() < mib-64; i++ {
		fmt.Fprintf(&b, format, i)
	}
	b.WriteString(tail)
	return b.String()
}

// hostile are bodies of 1 MiB that would cost a careless scanner most.
func hostile() map[string]string {
	chain := strings.Repeat("<a>", 31) + strings.Repeat("</a>", 31)
	return map[string]string{
		"one long text":               fill("<xml><a>", "x", "</a></xml>"),
		"one long CDATA":              fill("<xml><a><![CDATA[", "x", "]]></a></xml>"),
		"brackets":                    fill("<xml><a><![CDATA[", "]", "]]></a></xml>"),
		"brackets in text":            fill("<xml><a>", "]", "</a></xml>"),
		"Chinese":                     fill("<xml><a>", "好", "</a></xml>"),
		"emoji":                       fill("<xml><a><![CDATA[", "😀", "]]></a></xml>"),
		"control characters":          fill("<xml><a>", "\x01", "</a></xml>"),
		"control characters between":  fill("<xml><a>", "x\x01", "</a></xml>"),
		"carriage returns":            fill("<xml><a>", "\r", "</a></xml>"),
		"references":                  fill("<xml><a>", "&lt;", "</a></xml>"),
		"references beside elements":  fill("<xml>", "&lt;", "<a/></xml>"),
		"pieces of CDATA":             fill("<xml><a>", "<![CDATA[x]]>", "</a></xml>"),
		"comments":                    fill("<xml>", "<!---->", "<a/></xml>"),
		"comments in text":            fill("<xml><a>", "x<!---->", "</a></xml>"),
		"comments outside":            fill("", "<!---->", "<xml><a/></xml>"),
		"instructions":                fill("<xml>", "<?p?>", "<a/></xml>"),
		"attributes":                  fill("<xml", " a=''", "><a/></xml>"),
		"different attributes":        counted(mib, "<xml", " a%d=''", "><a/></xml>"),
		"one long attribute":          fill("<xml a='", "&lt;", "'><a/></xml>"),
		"open quotes":                 fill("<xml", " a='\"'", "><a b='</xml>"),
		"start tags":                  fill("", "<a>", ""),
		"open angle brackets":         fill("<xml>", "<", ""),
		"the same leaf":               fill("<xml>", "<a/>", "</xml>"),
		"different leaves":            counted(mib, "<xml>", "<a%d/>", "</xml>"),
		"4,096 different leaves":      counted(4096, "<xml>", "<a%d/>", "</xml>"),
		"4,096 leaves that mark same": counted(4096, "<xml>", "<axxxx%04dxxxxz/>", "</xml>"),
		"4,096 chains":                "<xml>" + strings.Repeat(chain[3:len(chain)-4], 4096) + "</xml>",
		"4,096 long names":            counted(4096, "<xml>", "<"+strings.Repeat("n", 100)+"%d/>", "</xml>"),
		"pairs of the same name":      counted(2048, "<xml>", "<a%[1]d/><a%[1]d/>", "</xml>"),
		"a long name":                 fill("<xml><", "n", "/></xml>"),
		"blanks":                      fill("<xml><a>1</a></xml>", " ", ""),
		"blanks in front":             fill("", " ", "<xml><a>1</a></xml>"),
		"JSON text":                   fill(`{"a":"`, "x", `"}`),
		"JSON escapes":                fill(`{"a":"`, `\n`, `"}`),
		"JSON Unicode escapes":        fill(`{"a":"`, `\ud83d\ude00`, `"}`),
		"JSON digits":                 fill(`{"a":`, "1", `}`),
		"JSON items":                  fill(`{"a":[1`, ",1", `]}`),
		"JSON keys":                   counted(mib, `{"x":0`, `,"k%d":1`, `}`),
		"4,096 JSON keys":             counted(4095, `{"x":0`, `,"k%d":1`, `}`),
		"4,096 escaped JSON keys":     counted(4095, `{"x":0`, `,"\u006b%d":1`, `}`),
		"JSON lists":                  fill(`{"a":`, "[", ""),
		"JSON objects":                fill("", `{"a":`, ""),
		"JSON empty lists":            fill(`{"a":[[]`, ",[]", "]}"),
		"JSON blanks":                 fill(`{"a":1`, " ", "}"),
		"NULs":                        fill("<xml>", "\x00", "</xml>"),
		"broken UTF-8":                fill("<xml><a>", "\xff", "</a></xml>"),
		"broken UTF-8 at the end":     fill("<xml><a>", "好", "\xff</a></xml>"),
	}
}

// within tells whether work takes less than limit of processor time. The best of
// many tries counts: what is held is the work, not how busy the machine is.
func within(limit time.Duration, work func()) (best time.Duration, ok bool) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	best = time.Hour
	for range 100 {
		start := threadTime()
		work()
		if best = min(best, threadTime()-start); best <= limit {
			return best, true
		}
	}
	return best, false
}

// threadTime is the processor time that the calling thread has used (getrusage).
func threadTime() time.Duration {
	const thread = 1 // RUSAGE_THREAD of Linux
	var u syscall.Rusage
	if err := syscall.Getrusage(thread, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func TestHostileBodies(t *testing.T) {
	a := testAccount(t, Compatible)
	q := Query{Timestamp: "1700000000", Nonce: "n", MsgSignature: strings.Repeat("0", 40)}
	for name, body := range hostile() {
		t.Run(name, func(t *testing.T) {
			if len(body) > mib+64 {
				t.Fatalf("%d bytes", len(body))
			}
			b := []byte(body)
			var err error
			if best, ok := within(limit, func() { err = Decode("shop", Opened{Body: b}, new(hostapi.Event)) }); !ok {
				t.Errorf("decoding takes %v", best)
			}
			if err != nil && !errors.Is(err, ErrUndecodable) {
				t.Errorf("decoding: %v", err)
			}
			if best, ok := within(limit, func() { _, err = a.Open(q, b, testNow) }); !ok {
				t.Errorf("refusing takes %v", best)
			}
			if err != ErrNotAuthentic && err != ErrMode {
				t.Errorf("refusing: %v", err)
			}
		})
	}
}

// TestHostilePlain is what somebody can do to a plain account who has seen one
// of its queries: the signature doesn't cover the body. What looks like a sealed
// callback must not be read twice as long.
func TestHostilePlain(t *testing.T) {
	a := testAccount(t, Plain)
	_, q := a.AppendCallback(nil, []byte(testMessage), XML, "gh", testNow.Unix(), "n", [16]byte{})
	chain := strings.Repeat("<a>", 30) + "<b/>" + strings.Repeat("</a>", 30)
	for name, leaf := range map[string]string{"in front": "<Encrypt>x</Encrypt>", "further down": "<c><Encrypt/></c>"} {
		t.Run(name, func(t *testing.T) {
			body := []byte("<xml>" + leaf + strings.Repeat(chain, 4000) + "</xml>")
			var opening, decoding error
			best, ok := within(limit, func() {
				var o Opened
				o, opening = a.Open(q, body, testNow)
				decoding = Decode("shop", o, new(hostapi.Event))
			})
			if opening != nil || decoding != nil || !ok {
				t.Errorf("%v: %v, %v", best, opening, decoding)
			}
		})
	}
}

func TestHostileSealed(t *testing.T) {
	a := testAccount(t, Encrypted)
	msg := "<xml><a>" + strings.Repeat("好", mib/4) + "</a></xml>" // 1 MiB when sealed
	body, q := a.AppendCallback(nil, []byte(msg), XML, "gh", testNow.Unix(), "n", [16]byte{})
	var err error
	best, ok := within(limit, func() { _, err = a.Open(q, body, testNow) })
	if err != nil || !ok {
		t.Errorf("opening %d bytes takes %v: %v", len(body), best, err)
	}
}
