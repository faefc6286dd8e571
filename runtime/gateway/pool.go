package gateway

import (
	"bytes"
	"crypto/tls"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
)

// Pool holds the clients of a host's upstreams over changes of its
// configuration: whoever opens what somebody else has open under the same name
// and with the same settings gets the same client, with its connections, its
// circuit and its counts. All methods may be called by many goroutines at once.
type Pool struct {
	own func() []netip.AddrPort
	log *slog.Logger

	mu      sync.Mutex
	clients map[string][]*pooled // by name, the one that was opened last at the end
}

// pooled is a client of the pool.
type pooled struct {
	client   *Upstream
	settings UpstreamConfig
	holders  int
}

// NewPool makes a pool without clients. own lists the host's listeners, which are
// never dialled; it is called by many goroutines at once, and nil: there are none.
func NewPool(own func() []netip.AddrPort, log *slog.Logger) *Pool {
	return &Pool{own: own, log: log, clients: make(map[string][]*pooled)}
}

// Open returns the client of an upstream; Own and Logger of c are the pool's. The
// caller gives it back with Close. One with other settings than those that are
// open under its name has connections and a circuit of its own, and goes on with
// their counts. The error is NewUpstream's.
func (p *Pool) Open(c UpstreamConfig) (*Upstream, error) {
	c.Own, c.Logger = p.own, p.log
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.clients[c.Name]
	if i := slices.IndexFunc(list, func(o *pooled) bool { return o.settings.equal(&c) }); i >= 0 {
		o := list[i]
		o.holders++
		p.clients[c.Name] = append(slices.Delete(list, i, i+1), o)
		return o.client, nil
	}
	u, err := NewUpstream(c)
	if err != nil {
		return nil, err
	}
	if len(list) > 0 {
		u.counts = list[0].client.counts
	}
	p.clients[c.Name] = append(list, &pooled{client: u, settings: c, holders: 1})
	return u, nil
}

// Close gives back a client that Open returned, once for each time. Every Post of
// who gives it back must have returned; with the last one its connections go.
func (p *Pool) Close(u *Upstream) {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.clients[u.name]
	i := slices.IndexFunc(list, func(o *pooled) bool { return o.client == u })
	if i < 0 {
		return
	}
	if list[i].holders--; list[i].holders > 0 {
		return
	}
	u.Close()
	if list = slices.Delete(list, i, i+1); len(list) > 0 {
		p.clients[u.name] = list
	} else {
		delete(p.clients, u.name)
	}
}

// Stats reads the upstreams that are open, by name. Of clients of one name
// requests are counted together; the circuit is that of the one that was opened
// last.
func (p *Pool) Stats() map[string]Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make(map[string]Stats, len(p.clients))
	for name, list := range p.clients {
		s := list[len(list)-1].client.Stats()
		for _, o := range list[:len(list)-1] {
			older := o.client.Stats()
			s.Active, s.Waiting = s.Active+older.Active, s.Waiting+older.Waiting
		}
		all[name] = s
	}
	return all
}

// equal tells whether two upstreams of one pool are the same.
func (c *UpstreamConfig) equal(o *UpstreamConfig) bool {
	return c.Name == o.Name && c.URL == o.URL && slices.Equal(c.Private, o.Private) && maps.Equal(c.Headers, o.Headers) &&
		c.Timeout == o.Timeout && c.Secret == o.Secret && c.Connections == o.Connections && equalTLS(c.TLS, o.TLS)
}

// equalTLS tells whether two upstreams take, and show, the same certificates under
// the same name.
func equalTLS(a, b *tls.Config) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.ServerName == b.ServerName && (a.RootCAs == nil) == (b.RootCAs == nil) && (a.RootCAs == nil || a.RootCAs.Equal(b.RootCAs)) &&
		slices.EqualFunc(a.Certificates, b.Certificates, func(a, b tls.Certificate) bool {
			return slices.EqualFunc(a.Certificate, b.Certificate, bytes.Equal)
		})
}
