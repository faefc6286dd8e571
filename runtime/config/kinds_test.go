package config

import (
	"testing"
	"time"
)

func TestParseDuration(t *testing.T) {
	for in, want := range map[string]time.Duration{
		"300ms": 300 * time.Millisecond, "1h30m": 90 * time.Minute, "2d": 48 * time.Hour, "1d12h": 36 * time.Hour, "0": 0, "0s": 0, "0d": 0,
	} {
		if got, err := parseDuration(in); got != want || err != nil {
			t.Errorf("%s: got %v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "5", "d", "-1d", "1.5d", "1d1d", "1d-1h", "1h1d", "106752d", "99999999999999999999d", "106751d24h", "5 s", "5S"} {
		if got, err := parseDuration(in); err == nil {
			t.Errorf("%s: got %v", in, got)
		}
	}
}

func TestParseSize(t *testing.T) {
	for in, want := range map[string]int64{"0": 0, "65536": 65536, "1B": 1, "2KiB": 2048, "16MiB": 16 << 20, "4GiB": 4 << 30, "3TiB": 3 << 40} {
		if got, ok := parseSize(in); got != want || !ok {
			t.Errorf("%s: got %d, %v", in, got, ok)
		}
	}
	for _, in := range []string{"", "B", "16MB", "16 MiB", "-1", "+1", "1.5MiB", "1e3", "0x10", "9999999999999999999", "9223372036854775807GiB", "4194305TiB", "16mib"} {
		if got, ok := parseSize(in); ok {
			t.Errorf("%s: got %d", in, got)
		}
	}
	for v, want := range map[int64]string{64 << 10: "64KiB", 4 << 30: "4GiB", 1 << 40: "1TiB", 1: "1B", 0: "0"} {
		if got := shortSize(v); got != want {
			t.Errorf("%d: got %s, want %s", v, got, want)
		}
	}
}

func TestNearest(t *testing.T) {
	for in, want := range map[string]string{
		"listne": "listen", "listen2": "listen", "Listen": "listen", "adminn": "admin", "data_": "data", "grain": "drain",
		"jsapi": "", "infight": "inflight", "x": "", "": "", "mail": "", "publc": "public",
	} {
		if got := nearest(in, serverSection().names()); got != want {
			t.Errorf("%s: got %q, want %q", in, got, want)
		}
	}
}

func TestLoopback(t *testing.T) {
	for in, want := range map[string]bool{
		"127.0.0.1:1": true, "127.9.9.9:1": true, "[::1]:1": true, "localhost:1": true, "LOCALHOST:1": true,
		":1": false, "0.0.0.0:1": false, "[::]:1": false, "10.0.0.1:1": false, "localhost.example:1": false,
	} {
		if got := isLoopback(in); got != want {
			t.Errorf("%s: got %v", in, got)
		}
	}
}
