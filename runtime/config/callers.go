package config

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// hashForm is a caller's key as the file has it.
var hashForm = regexp.MustCompile(`^sha256:[0-9A-Fa-f]{64}$`)

const (
	// keyPrefix begins the keys that `weft caller new` prints.
	keyPrefix     = "wk_"
	allApps       = "all"
	maxCallerApps = 10_000
)

// callerDecl is a caller together with what is resolved later.
type callerDecl struct {
	Caller
	node *node
	apps callerApps
}

// callerApps are the apps that a caller names.
type callerApps struct {
	all   bool
	names []*node
}

func startCaller(e entry) *callerDecl {
	return &callerDecl{Caller: Caller{Name: e.key, Pos: e.pos}, node: e.value}
}

func callerSection() section[callerDecl] {
	return section[callerDecl]{
		name: "callers.*",
		doc:  "a system of the business that calls the host, and what it may do",
		keys: []key[callerDecl]{
			{
				name: "key", required: true, doc: "the SHA-256 of its key, as weft caller new prints it; the key itself stands nowhere",
				value: to(keyHash(), func(c *callerDecl) *[sha256.Size]byte { return &c.Hash }),
			},
			{
				name: "apps", required: true, doc: "the apps that it may call for",
				value: to(callerAppsKind(), func(c *callerDecl) *callerApps { return &c.apps }),
			},
			{
				name: "paths", doc: "paths of WeChat's API that it may call through the gateway",
				value: to(patterns(), func(c *callerDecl) *[]string { return &c.Paths }),
			},
			{
				name: "credential", doc: "credentials that it may read",
				value: to(listOf("a list of credentials", oneOf(AccessToken, JSAPITicket, WXCardTicket)),
					func(c *callerDecl) *[]CredentialKind { return &c.Credentials }),
			},
			{
				name: "rate", doc: "requests that go through, on this host; left out: any number",
				value: to(rate(), func(c *callerDecl) *Rate { return &c.Rate }),
			},
		},
	}
}

// keyHash reads the SHA-256 of a key. It is shown as a secret is: one who puts
// the key itself there is told.
func keyHash() kind[[sha256.Size]byte] {
	what := "the SHA-256 of a key: sha256: and 64 hex digits"
	return single(shape{form: "string", what: what, pattern: hashForm.String()}, true, func(s string) (sum [sha256.Size]byte, err error) {
		switch {
		case hashForm.MatchString(s):
			_, err = hex.Decode(sum[:], []byte(strings.TrimPrefix(s, "sha256:")))
			return sum, err
		case strings.HasPrefix(s, keyPrefix):
			return sum, errors.New("is a key itself, which stands in no file: weft caller new prints its hash. Make a new one, this one has been seen")
		}
		return sum, &badValue{advice: "weft caller new NAME makes a key and prints its hash"}
	})
}

// callerAppsKind reads a list of names, or the word all.
func callerAppsKind() kind[callerApps] {
	what := "a list of apps, or the word all"
	names := atMost(maxCallerApps, "apps", listOf(what, reference("the name of an app")))
	word := single(shape{form: "string", what: what, words: []string{allApps}, other: []shape{names.shape}}, false, func(s string) (callerApps, error) {
		if s != allApps {
			return callerApps{}, &badValue{advice: "write [" + show(s) + "], or all"}
		}
		return callerApps{all: true}, nil
	})
	return kind[callerApps]{shape: word.shape, read: func(d *decoder, n *node) (callerApps, bool) {
		if n.kind == scalar && !n.isNull() {
			return word.read(d, n)
		}
		list, ok := names.read(d, n)
		return callerApps{names: list}, ok
	}}
}

// callers completes the root's callers, and warns of what can have no effect.
func (d *decoder) callers(cfg *Config) {
	apps := map[string]bool{}
	for _, a := range cfg.Apps {
		apps[a.Name] = true
	}
	names := slices.Sorted(maps.Keys(apps))
	first := map[[sha256.Size]byte]*callerDecl{}
	for _, c := range d.doc.callers {
		cfg.Callers = append(cfg.Callers, &c.Caller)
		c.Open, c.AllApps = c.node.open(), c.apps.all
		for i, n := range c.apps.names {
			if n.unknown {
				continue
			}
			if !apps[n.text] { // it may be one of a file that can't be read at the moment
				d.warn(n.pos, "callers."+show(c.Name)+".apps."+strconv.Itoa(i)+": there is no app "+n.shown(), d.adviceFor(n, names))
			}
			c.Apps = append(c.Apps, n.text)
		}
		where := "callers." + show(c.Name)
		if other := first[c.Hash]; other != nil && c.Hash != [sha256.Size]byte{} {
			d.addAt(c.node.at("key"), where+".key: caller "+show(other.Name)+" has this key, too", "give each a key of its own: weft caller new "+show(c.Name))
		} else {
			first[c.Hash] = c
		}
		has := func(key string) bool {
			n := c.node.get(key)
			return n != nil && !n.isNull() && (n.kind != list || len(n.items) > 0)
		}
		if !has("apps") || !has("paths") && !has("credential") {
			d.warn(c.Pos, where+" may do nothing", "it needs apps, and paths or credential")
		}
	}
}
