package hostapi_test

import (
	"testing"

	"github.com/weft-dev/weft/hostapi"
)

// textEvent is what a user's text message becomes.
func textEvent() *hostapi.Event {
	return &hostapi.Event{
		ID: "0123456789abcdef0123456789abcdef", App: "shop", AppID: "wx1234567890abcdef", Type: "text",
		From: "oABCDEFGHIJKLMNOPQRSTUVWXYZ1", To: "gh_1234567890ab", Created: 1_700_000_000, Content: "你好，我的订单到哪里了？",
		MsgID: "23238420918410001", DeadlineMS: 4500, Origin: "wechat", User: "oABCDEFGHIJKLMNOPQRSTUVWXYZ1",
		ConfigID: 0x123456789abcdef0, Attempt: 1, Format: "xml", AppType: "official",
	}
}

func BenchmarkEvent(b *testing.B) {
	for name, ev := range map[string]*hostapi.Event{"text": textEvent(), "full": full()} {
		benchmark(b, name, ev)
	}
}

func BenchmarkReply(b *testing.B) {
	for _, name := range []string{"text", "news"} {
		benchmark(b, name, replies()[name])
	}
}

func BenchmarkState(b *testing.B) {
	benchmark(b, "request", &hostapi.StateRequest{Op: hostapi.StateSet, Key: "greeted", Value: []byte("1"), TTLMS: 1000})
	benchmark(b, "response", &hostapi.StateResponse{Value: []byte("1")})
}

func benchmark(b *testing.B, name string, m codec) {
	src := m.Append(nil)
	b.Run(name+"/append", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(src)))
		buf := make([]byte, 0, len(src))
		for b.Loop() {
			buf = m.Append(buf[:0])
		}
	})
	b.Run(name+"/decode", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(src)))
		dst := fresh(m)
		for b.Loop() {
			if err := dst.Decode(src); err != nil {
				b.Fatal(err)
			}
		}
	})
}
