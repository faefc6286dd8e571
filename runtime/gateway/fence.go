package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
)

// ErrFenced is wrapped by every error of an address that an upstream may not be
// at.
var ErrFenced = errors.New("the address is not allowed")

// fence says at which addresses an upstream may be. It is asked about the
// address that a connection goes to, after the name was resolved, so that no
// answer of a name server leads elsewhere.
type fence struct {
	private []netip.Prefix
	own     func() []netip.AddrPort
}

// control is a net.Dialer's: it is called before each connection is made.
func (f *fence) control(_ context.Context, _, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: it can't be read", ErrFenced)
	}
	return f.check(at)
}

// check is nil where a connection to at is allowed.
func (f *fence) check(at netip.AddrPort) error {
	a := at.Addr().WithZone("").Unmap()
	inner, carries := embedded(a)
	switch {
	case unreachable(a) || carries && unreachable(inner):
		return fmt.Errorf("%w: %s is link-local or no host's", ErrFenced, a)
	case f.isOwn(netip.AddrPortFrom(a, at.Port())) || carries && f.isOwn(netip.AddrPortFrom(inner, at.Port())):
		return fmt.Errorf("%w: %s is a listener of this host", ErrFenced, netip.AddrPortFrom(a, at.Port()))
	case len(f.private) == 0 && !public(a):
		return fmt.Errorf("%w: %s is not public: name its network under private", ErrFenced, a)
	case len(f.private) > 0 && !slices.ContainsFunc(f.private, func(p netip.Prefix) bool { return p.Contains(a) }):
		return fmt.Errorf("%w: %s is in none of the networks under private", ErrFenced, a)
	}
	return nil
}

// isOwn tells whether a listener of the host takes connections to at.
func (f *fence) isOwn(at netip.AddrPort) bool {
	if f.own == nil {
		return false
	}
	return slices.ContainsFunc(f.own(), func(l netip.AddrPort) bool {
		switch {
		case l.Port() != at.Port():
			return false
		case l.Addr().IsUnspecified():
			return at.Addr().IsLoopback() || isLocal(at.Addr())
		}
		return l.Addr().WithZone("").Unmap() == at.Addr()
	})
}

// isLocal tells whether a is an address of this machine; where that can't be
// told it is taken for one.
func isLocal(a netip.Addr) bool {
	list, err := net.InterfaceAddrs()
	return err != nil || slices.ContainsFunc(list, func(n net.Addr) bool {
		p, err := netip.ParsePrefix(n.String())
		return err == nil && p.Addr().WithZone("").Unmap() == a
	})
}

// unreachable tells whether a is an address that no upstream is ever at.
func unreachable(a netip.Addr) bool {
	return a.IsUnspecified() || a.IsLinkLocalUnicast() || a.IsMulticast() ||
		a.Is4() && (a.As4()[0] == 0 || a.As4() == [4]byte{255, 255, 255, 255})
}

// embedded returns the IPv4 address that an IPv6 address stands for on its way:
// NAT64 (RFC 6052), 6to4 (RFC 3056), IPv4-compatible (RFC 4291).
func embedded(a netip.Addr) (netip.Addr, bool) {
	b := a.As16()
	switch {
	case a.Is4():
	case nat64.Contains(a), compatible.Contains(a) && !a.IsLoopback() && !a.IsUnspecified():
		return netip.AddrFrom4([4]byte(b[12:])), true
	case sixToFour.Contains(a):
		return netip.AddrFrom4([4]byte(b[2:])), true
	}
	return netip.Addr{}, false
}

// public tells whether a is an address of the public internet, by the registries
// of special addresses of IANA.
func public(a netip.Addr) bool {
	if nat64.Contains(a) {
		a, _ = embedded(a)
	}
	if a.Is6() && !globalUnicast.Contains(a) || a.IsPrivate() || a.IsLoopback() || unreachable(a) {
		return false
	}
	return !slices.ContainsFunc(special, func(p netip.Prefix) bool { return p.Contains(a) })
}

// Networks with a meaning of their own. They are never changed.
var (
	globalUnicast = netip.MustParsePrefix("2000::/3")
	nat64         = netip.MustParsePrefix("64:ff9b::/96")
	compatible    = netip.MustParsePrefix("::/96")
	sixToFour     = netip.MustParsePrefix("2002::/16")

	special = []netip.Prefix{
		netip.MustParsePrefix("100.64.0.0/10"),   // carriers' NAT
		netip.MustParsePrefix("192.0.0.0/24"),    // protocol assignments
		netip.MustParsePrefix("192.0.2.0/24"),    // documentation
		netip.MustParsePrefix("192.88.99.0/24"),  // 6to4 relays
		netip.MustParsePrefix("198.18.0.0/15"),   // benchmarks
		netip.MustParsePrefix("198.51.100.0/24"), // documentation
		netip.MustParsePrefix("203.0.113.0/24"),  // documentation
		netip.MustParsePrefix("240.0.0.0/4"),     // reserved
		netip.MustParsePrefix("2001::/23"),       // protocol assignments, Teredo among them
		netip.MustParsePrefix("2001:db8::/32"),   // documentation
		netip.MustParsePrefix("3fff::/20"),       // documentation
		sixToFour,
	}
)
