package pipeline

import (
	"bytes"
	"encoding/binary"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/weft-dev/weft/hostapi"
)

func fullEntry() entry {
	return entry{
		pipeline: "main", at: place{stage: "all", parts: fullParts()}, known: time.UnixMilli(1700000000123),
		event: hostapi.Event{
			ID: "0123456789abcdef0123456789abcdef", App: "shop", AppID: "wx1", Type: "event", Event: "CLICK", Key: "k", From: "o", To: "gh",
			Created: 1700000000, Content: "你好", MsgID: "1", Fields: []hostapi.Field{{Name: "A.B", Value: "1"}, {Name: "", Value: ""}},
			Attrs: []hostapi.Field{{Name: "tag", Value: "vip"}}, Reply: textReply("so far"), TraceParent: "00-1", Raw: []byte("<xml/>"),
			Origin: "wechat", User: "o", Scene: "7", ConfigID: 9, Attempt: 2, Format: "xml", AppType: "official",
		},
	}
}

// fullParts is a parallel stage in a parallel stage, run in part.
func fullParts() []part {
	return []part{
		{end: done, replied: true, reply: textReply("a"), attrs: []hostapi.Field{{Name: "a", Value: "1"}, {Name: "b", Value: "2"}}},
		{end: queued, at: place{stage: "inner", parts: []part{
			{end: goOn, replied: true},
			{end: queued, at: place{stage: "faq"}, attrs: []hostapi.Field{{Name: "c", Value: ""}}},
		}}},
		{end: stopped},
	}
}

func TestEntry(t *testing.T) {
	lone := fullEntry()
	lone.at, lone.alone = place{stage: "count"}, true
	want := fullEntry()
	var got entry
	if err := got.decode(lone.append(nil)); err != nil || !reflect.DeepEqual(got, lone) {
		t.Errorf("alone: got %+v, %v", got, err)
	}
	if err := got.decode(want.append(nil)); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
	b := append([]byte{1}, 4, 'm', 'a', 'i', 'n', 0)
	b = binary.AppendVarint(b, want.known.UnixMilli())
	b = want.event.Append(b)
	old := want
	old.at = place{}
	if err := got.decode(b); err != nil || !reflect.DeepEqual(got, old) {
		t.Errorf("of the first version: got %+v, %v", got, err)
	}
	b = want.append(nil)
	for n := range len(b) - 1 {
		if err := got.decode(b[:n]); err != nil && !errors.Is(err, errEntry) {
			t.Errorf("cut at %d: %v", n, err)
		}
	}
	for name, b := range map[string][]byte{
		"empty": nil, "version 0": {0}, "a later version": {3, 0, 0, 0, 0}, "no stage": {2, 0}, "a length over the end": {2, 200, 1},
		"a broken length": {2, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255}, "a broken time": {2, 0, 0, 255}, "no time": {2, 0, 0},
		"a broken event": {2, 0, 0, 0, 0, 0, 255}, "alone or not": {2, 0, 0, 0}, "no parts": {2, 0, 0, 0, 0}, "a part is missing": {2, 0, 0, 0, 0, 1},
		"a part that ended in nothing": {2, 0, 0, 0, 0, 1, byte(again), 0, 0}, "nothing to run": {2, 0, 0, 0, 0, 1, 0, 0, 0}, "a broken part": {2, 0, 0, 0, 0, 1, 0, 0, 1, 255},
		"parts without end":        append([]byte{2, 0, 0, 0, 0}, bytes.Repeat([]byte{1, byte(queued), 0, 0, 1, 'a'}, maxPartDepth+2)...),
		"more parts than branches": append([]byte{2, 0, 0, 0, 0, 17}, bytes.Repeat([]byte{byte(queued), 0, 0, 1, 'a', 0}, 17)...),
		"a part without a stage":   {2, 0, 0, 0, 0, 1, byte(queued), 0, 0, 0, 0},
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
	f.Add([]byte{2, 0, 0, 0, 0, 1, byte(queued), 0, 0, 1, 'a', 0})
	f.Add([]byte{2, 0, 0, 0, 1, 0})
	f.Add([]byte{3})
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
