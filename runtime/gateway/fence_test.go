package gateway

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

func prefixes(list ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// TestFence goes through the registries of special addresses, alone and with a
// private network, and through forms that carry one address in another.
func TestFence(t *testing.T) {
	own := func() []netip.AddrPort {
		return []netip.AddrPort{netip.MustParseAddrPort("10.0.0.5:8080"), netip.MustParseAddrPort("[::]:9090"), netip.MustParseAddrPort("[::ffff:10.0.0.6]:80")}
	}
	open := &fence{own: own}
	wide := &fence{own: own, private: prefixes("0.0.0.0/0", "::/0")}
	some := &fence{own: own, private: prefixes("10.0.0.0/8", "fd00::/8", "127.0.0.0/8", "::1/128")}
	for _, c := range []struct {
		at               string
		open, wide, some bool
	}{
		{"1.1.1.1:443", true, true, false},
		{"[2606:4700::1111]:443", true, true, false},
		{"[::ffff:1.1.1.1]:443", true, true, false},
		{"[64:ff9b::101:101]:443", true, true, false}, // NAT64 of 1.1.1.1
		{"10.0.0.4:80", false, true, true},
		{"[::ffff:10.0.0.4]:80", false, true, true},
		{"172.16.0.1:80", false, true, false},
		{"192.168.1.1:80", false, true, false},
		{"100.64.0.1:80", false, true, false},
		{"127.0.0.1:80", false, true, true},
		{"127.9.9.9:80", false, true, true},
		{"[::1]:80", false, true, true},
		{"[fd00::1]:80", false, true, true},
		{"[fc00::1]:80", false, true, false},
		{"[fec0::1]:80", false, true, false},
		{"[64:ff9b::a00:1]:80", false, true, false},
		{"[2002:a00:1::]:80", false, true, false},
		{"[2002:101:101::]:80", false, true, false},
		{"[2001::1]:80", false, true, false},
		{"[2001:db8::1]:80", false, true, false},
		{"[::a00:1]:80", false, true, false},
		{"192.0.2.1:80", false, true, false},
		{"198.18.0.1:80", false, true, false},
		{"198.51.100.1:80", false, true, false},
		{"203.0.113.1:80", false, true, false},
		{"240.0.0.1:80", false, true, false},

		{"169.254.169.254:80", false, false, false},
		{"[::ffff:169.254.169.254]:80", false, false, false},
		{"[64:ff9b::a9fe:a9fe]:80", false, false, false},
		{"[2002:a9fe:a9fe::]:80", false, false, false},
		{"[::a9fe:a9fe]:80", false, false, false},
		{"[fe80::1]:80", false, false, false},
		{"[fe80::1%eth0]:80", false, false, false},
		{"0.0.0.0:80", false, false, false},
		{"0.1.2.3:80", false, false, false},
		{"[::]:80", false, false, false},
		{"255.255.255.255:80", false, false, false},
		{"224.0.0.1:80", false, false, false},
		{"[ff02::1]:80", false, false, false},
		{"10.0.0.5:8080", false, false, false}, // own listeners
		{"[::ffff:10.0.0.5]:8080", false, false, false},
		{"127.0.0.1:9090", false, false, false},
		{"[::1]:9090", false, false, false},
		{"10.0.0.6:80", false, false, false},
		{"[64:ff9b::a00:5]:8080", false, false, false},
		{"[2002:a00:5::]:8080", false, false, false},
		{"10.0.0.5:8081", false, true, true},
	} {
		for _, f := range []struct {
			name string
			*fence
			want bool
		}{{"open", open, c.open}, {"wide", wide, c.wide}, {"some", some, c.some}} {
			err := f.check(netip.MustParseAddrPort(c.at))
			if (err == nil) != f.want || err != nil && !errors.Is(err, ErrFenced) {
				t.Errorf("%s, %s: got %v", f.name, c.at, err)
			}
			if got := f.control(t.Context(), "tcp", c.at, nil); (got == nil) != f.want {
				t.Errorf("%s, %s: control says %v", f.name, c.at, got)
			}
		}
	}
	if err := open.control(t.Context(), "unix", "/run/docker.sock", nil); !errors.Is(err, ErrFenced) {
		t.Errorf("a socket file: %v", err)
	}
	for at, want := range map[string]string{
		"10.0.0.4:80":        "10.0.0.4 is not public: name its network under private",
		"169.254.169.254:80": "169.254.169.254 is link-local or no host's",
		"10.0.0.5:8080":      "10.0.0.5:8080 is a listener of this host",
	} {
		if err := open.check(netip.MustParseAddrPort(at)); !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s: %v", at, err)
		}
	}
}
