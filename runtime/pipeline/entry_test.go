package pipeline

import (
	"bytes"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/weft-dev/weft/hostapi"
)

func fullEntry() entry {
	return entry{
		pipeline: "main", stage: "faq", known: time.UnixMilli(1700000000123),
		event: hostapi.Event{
			ID: "0123456789abcdef0123456789abcdef", App: "shop", AppID: "wx1", Type: "event", Event: "CLICK", Key: "k", From: "o", To: "gh",
			Created: 1700000000, Content: "你好", MsgID: "1", Fields: []hostapi.Field{{Name: "A.B", Value: "1"}, {Name: "", Value: ""}},
			Attrs: []hostapi.Field{{Name: "tag", Value: "vip"}}, Reply: textReply("so far"), TraceParent: "00-1", Raw: []byte("<xml/>"),
			Origin: "wechat", User: "o", Scene: "7", ConfigID: 9, Attempt: 2, Format: "xml", AppType: "official",
		},
	}
}

func TestEntry(t *testing.T) {
	want := fullEntry()
	var got entry
	if err := got.decode(want.append(nil)); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
	b := want.append(nil)
	for n := range len(b) - 1 {
		if err := got.decode(b[:n]); err != nil && !errors.Is(err, errEntry) {
			t.Errorf("cut at %d: %v", n, err)
		}
	}
	for name, b := range map[string][]byte{
		"empty": nil, "version 0": {0}, "a later version": {2, 0, 0, 0}, "no stage": {1, 0}, "a length over the end": {1, 200, 1},
		"a broken length": {1, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255}, "a broken time": {1, 0, 0, 255}, "no time": {1, 0, 0},
		"a broken event": {1, 0, 0, 0, 255},
	} {
		if err := got.decode(b); !errors.Is(err, errEntry) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What decodes, encodes to what decodes to the same.
func FuzzEntry(f *testing.F) {
	full := fullEntry()
	f.Add(full.append(nil))
	f.Add((&entry{}).append(nil))
	f.Add([]byte{1, 0, 0, 0})
	f.Add([]byte{2})
	f.Fuzz(func(t *testing.T, b []byte) {
		var first, second entry
		if err := first.decode(b); err != nil {
			if !errors.Is(err, errEntry) {
				t.Fatalf("error of no kind: %v", err)
			}
			return
		}
		again := first.append(nil)
		if err := second.decode(again); err != nil || !reflect.DeepEqual(first, second) {
			t.Fatalf("%v\n%+v\n%+v", err, first, second)
		}
		if !bytes.Equal(second.append(nil), again) {
			t.Fatal("two encodings of the same")
		}
	})
}
