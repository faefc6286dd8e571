package config

import (
	"encoding/base64"
	"net"
	"regexp"
	"strconv"
)

// Forms of what store.redis and server.key hold.
var (
	keyForm    = regexp.MustCompile(`^[A-Za-z0-9+/]{43}=?$`)
	plainForm  = regexp.MustCompile(`^[^\x00-\x1f\x7f]{0,512}$`)
	masterForm = regexp.MustCompile(`^[A-Za-z0-9._-]{1,128}$`)
	prefixForm = regexp.MustCompile(`^[A-Za-z0-9._:-]{1,64}$`)
	addrForm   = regexp.MustCompile(`^([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}$`)
	serverForm = regexp.MustCompile(`^[A-Za-z0-9._:-]{1,253}$`)
)

const (
	maxPreviousKeys = 16
	maxAddrs        = 100
)

type storeDecl struct {
	embedded *embeddedDecl
	redis    *Redis
}

type embeddedDecl struct{ dir string }

// of is the store that the section says, or that its absence does.
func (s *storeDecl) of(server Server) Store {
	switch {
	case s != nil && s.redis != nil:
		return Store{Redis: s.redis}
	case s != nil && s.embedded != nil && s.embedded.dir != "":
		return Store{Dir: s.embedded.dir}
	}
	return Store{Dir: server.Data}
}

func storeSection() section[storeDecl] {
	return section[storeDecl]{
		name: "store",
		doc:  "where state and the durable queue are kept, one of these; changes need a restart",
		keys: []key[storeDecl]{
			{
				name: "embedded", doc: "bbolt in a file of this host; the default",
				value: to(nested("a mapping", embeddedSection), func(s *storeDecl) **embeddedDecl { return &s.embedded }),
			},
			{
				name: "redis", doc: "a Redis that hosts share",
				value: to(nested("a mapping", redisSection), func(s *storeDecl) **Redis { return &s.redis }),
			},
		},
	}
}

func embeddedSection() section[embeddedDecl] {
	return section[embeddedDecl]{
		name: "store.embedded",
		doc:  "the embedded store",
		keys: []key[embeddedDecl]{{
			name: "dir", doc: "folder; server.data where left out",
			value: to(folder(), func(s *embeddedDecl) *string { return &s.dir }),
		}},
	}
}

func redisSection() section[Redis] {
	user := matching("a user's name of at most 512 characters", plainForm, false)
	password := matching("a password of at most 512 characters", plainForm, true)
	return section[Redis]{
		name: "store.redis",
		doc:  "a Redis that hosts share; it needs server.key, the same on all of them",
		keys: []key[Redis]{
			{
				name: "addrs", required: true, doc: "where it is: the server, the Sentinels, or some nodes of the cluster",
				value: to(redisAddrs(), func(r *Redis) *[]string { return &r.Addrs }),
			},
			{
				name: "mode", def: string(RedisSingle), doc: "what stands behind the addresses",
				value: to(oneOf(RedisSingle, RedisSentinel, RedisCluster), func(r *Redis) *RedisMode { return &r.Mode }),
			},
			{
				name: "master", doc: "how the Sentinels call the primary; required with mode sentinel",
				value: to(matching("a name of 1 to 128 letters, digits, . _ and -", masterForm, false), func(r *Redis) *string { return &r.Master }),
			},
			{
				name: "username", doc: "user of the servers",
				value: to(user, func(r *Redis) *string { return &r.Username }),
			},
			{
				name: "password", doc: "password of the servers",
				value: to(password, func(r *Redis) *string { return &r.Password }),
			},
			{
				name: "sentinel_username", doc: "user of the Sentinels",
				value: to(user, func(r *Redis) *string { return &r.SentinelUsername }),
			},
			{
				name: "sentinel_password", doc: "password of the Sentinels",
				value: to(password, func(r *Redis) *string { return &r.SentinelPassword }),
			},
			{
				name: "tls", def: "false", doc: "whether, and how, connections are encrypted",
				value: to(tlsKind(), func(r *Redis) **TLS { return &r.TLS }),
			},
			{
				name: "db", def: "0", doc: "number of the database; a cluster has 0 only",
				value: to(integer(0, 65535), func(r *Redis) *int { return &r.DB }),
			},
			{
				name: "prefix", def: "weft", doc: "beginning of every key; hosts that share it work as one",
				value: to(matching("1 to 64 letters, digits, . _ : and -", prefixForm, false), func(r *Redis) *string { return &r.Prefix }),
			},
		},
	}
}

// redisAddrs reads a list of HOST:PORT, one at least.
func redisAddrs() kind[[]string] {
	addr := text("HOST:PORT, such as 10.0.3.5:6379", func(s string) error {
		_, port, err := net.SplitHostPort(s)
		if n, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil || n == 0 || !addrForm.MatchString(s) {
			return notThat()
		}
		return nil
	})
	addr.shape.pattern = addrForm.String()
	return atMost(maxAddrs, "addresses", atLeastOne("a list of addresses, one at least", addr))
}

// tlsKind reads true, false or a mapping.
func tlsKind() kind[*TLS] {
	plain, inner := boolean(), nested("a mapping", redisTLSSection)
	s := plain.shape
	s.what, s.other = "true, false, or a mapping such as { ca: ca.pem }", []shape{inner.shape}
	return kind[*TLS]{shape: s, read: func(d *decoder, n *node) (*TLS, bool) {
		if n.kind == mapping {
			return inner.read(d, n)
		}
		on, ok := plain.read(d, n)
		if !on {
			return nil, ok
		}
		return new(TLS), ok
	}}
}

func redisTLSSection() section[TLS] { return tlsSection("store.redis.tls") }

func tlsSection(name string) section[TLS] {
	return section[TLS]{
		name: name,
		doc:  "how connections are encrypted",
		keys: []key[TLS]{
			{
				name: "ca", doc: "file of the certificates (PEM) that the servers' must come from; left out: the system's",
				value: to(pathKind("the path of a file"), func(t *TLS) *string { return &t.CA }),
			},
			{
				name: "cert", doc: "file of the certificate (PEM) that the host shows",
				value: to(pathKind("the path of a file"), func(t *TLS) *string { return &t.Cert }),
			},
			{
				name: "key", doc: "file of that certificate's key (PEM)",
				value: to(pathKind("the path of a file"), func(t *TLS) *string { return &t.Key }),
			},
			{
				name: "server_name", doc: "name that the servers' certificates must have; left out: the host of the address",
				value: to(matching("the name of a host", serverForm, false), func(t *TLS) *string { return &t.ServerName }),
			},
		},
	}
}

// serverKey reads KeySize bytes of base64.
func serverKey() kind[[]byte] {
	what := strconv.Itoa(KeySize) + " random bytes in base64 (openssl rand -base64 32)"
	return single(shape{form: "string", what: what, pattern: keyForm.String()}, true, func(s string) ([]byte, error) {
		if !keyForm.MatchString(s) {
			return nil, notThat()
		}
		key, err := base64.RawStdEncoding.DecodeString(s[:43])
		if err != nil {
			return nil, notThat()
		}
		return key, nil
	})
}

// checkStore checks what hangs on more than one value of store.
func (d *decoder) checkStore(doc *document) {
	if doc.store == nil || doc.store.redis == nil {
		return
	}
	r, n := doc.store.redis, doc.storeNode.get("redis")
	has := func(key string) bool { return n.get(key) != nil }
	at := func(pos Pos, text, advice string) { d.addAt(pos, "store.redis"+text, advice) }
	if doc.storeNode.get("embedded") != nil {
		d.addAt(doc.storePos, "store: embedded and redis are two stores", "keep one")
	}
	if doc.serverNode.get("key") == nil {
		at(n.from, ": server.key is missing, which hosts that share a store share, too", "server: { key: … } is "+serverKey().shape.what)
	}
	switch {
	case r.Mode == RedisSingle && len(r.Addrs) > 1:
		at(n.at("addrs"), ".addrs: mode single has one address", "keep one, or say mode: sentinel or mode: cluster")
	case r.Mode == RedisSentinel && !has("master"):
		at(n.from, ": master is missing", "it is the name that the Sentinels have for the primary")
	case r.Mode == RedisCluster && r.DB != 0:
		at(n.at("db"), ".db: a cluster has database 0 only", "leave it out")
	}
	for _, key := range []string{"master", "sentinel_username", "sentinel_password"} {
		if has(key) && r.Mode != "" && r.Mode != RedisSentinel {
			at(n.at(key), "."+key+" has a meaning with mode sentinel only", "leave it out")
		}
	}
	d.checkPair("store.redis", n)
}

// checkPair checks that a certificate has its key in the section tls of what is at
// path.
func (d *decoder) checkPair(path string, n *node) {
	if t := n.get("tls"); t != nil && (t.get("cert") == nil) != (t.get("key") == nil) {
		d.addAt(t.from, path+".tls: cert and key go together", "give both, or none")
	}
}
