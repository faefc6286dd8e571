package config

import (
	"crypto/sha256"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Config is a checked pipeline.yaml with what it includes: every reference resolves, every default is
// in place, every value is in its range. It is not changed after Parse.
type Config struct {
	Server    Server
	Store     Store
	Upstreams []*Upstream // in the order of the file
	Callers   []*Caller   // in the order of the file
	Apps      []*App      // the root's in the order of the file, then each included file's
	Plugins   []*Plugin   // in the order of the file
	Pipelines []*Pipeline // as Apps

	server *node // the section, or what stands for it
	store  Pos   // of the section, else of the file
}

// Server is the section server.
type Server struct {
	Listen     string // HOST:PORT, public
	Admin      string // HOST:PORT
	AdminToken string // required where Admin is not loopback; a secret
	Data       string // folder, absolute or relative to the working directory
	Inflight   int    // events at once, over all apps
	Drain      time.Duration
	Public     string // scheme, host and port that browsers reach the host at; "" where nothing is said
	// Key is what the host derives its own keys from, KeySize bytes, a secret; nil:
	// the file has none, which is only so with the embedded store.
	Key          []byte
	PreviousKeys [][]byte // of the same form, still accepted, a secret each
}

// KeySize is the length of Server.Key in bytes.
const KeySize = 32

// Store is the section store.
type Store struct {
	Dir   string // folder of the embedded store; "" where Redis is set
	Redis *Redis // nil: the embedded store
}

// RedisMode says what stands behind the addresses of a Redis.
type RedisMode string

// The modes of Redis.
const (
	RedisSingle   RedisMode = "single"   // one server
	RedisSentinel RedisMode = "sentinel" // Sentinels, which know the primary
	RedisCluster  RedisMode = "cluster"  // some nodes of a cluster
)

// Redis is the section store.redis.
type Redis struct {
	Addrs            []string // HOST:PORT, one with RedisSingle
	Mode             RedisMode
	Master           string // how Sentinels call the primary; RedisSentinel only
	Username         string
	Password         string // a secret
	SentinelUsername string
	SentinelPassword string // a secret
	TLS              *TLS   // nil: plain
	DB               int    // 0 with RedisCluster
	Prefix           string // of every key
}

// TLS is how a connection is encrypted. Paths are absolute or relative to the
// working directory.
type TLS struct {
	CA         string // file of certificates, PEM; "": the system's
	Cert, Key  string // files of the host's own certificate; both or none
	ServerName string // that the certificate must have; "": the host of the address
}

// Upstream is an entry of upstreams: a service of the business. It may be a
// secret where it is, and what its header fields say.
type Upstream struct {
	Pos         Pos
	Name        string
	URL         string            // http or https, without user and fragment; its query may hold a secret
	Private     []netip.Prefix    // the networks that it is in; none: public addresses only
	Headers     map[string]string // of every request; the values are secrets
	Timeout     time.Duration     // of one request
	Secret      string            // that requests are signed with; "" where they aren't
	Connections int               // at once
	TLS         *TLS              // with https; nil: as the system's certificates say
	// Open says that Options.NoEnv left a value of it open.
	Open bool
	// stranger says that requests have nothing to tell it who sends.
	stranger bool
}

// Caller is an entry of callers: a system of the business, and what it may do.
type Caller struct {
	Pos         Pos
	Name        string
	Hash        [sha256.Size]byte // of its key
	AllApps     bool
	Apps        []string // names, of apps that may not be there; none with AllApps
	Paths       []string // patterns of WeChat's paths: see API
	Credentials []CredentialKind
	Rate        Rate // zero: no bound
	// Open says that Options.NoEnv left a value of it open.
	Open bool
}

// CredentialKind is what a caller may read.
type CredentialKind string

// The kinds of credentials.
const (
	AccessToken  CredentialKind = "access_token"
	JSAPITicket  CredentialKind = "jsapi_ticket"
	WXCardTicket CredentialKind = "wx_card_ticket"
)

// Rate is how many calls go through in a time.
type Rate struct {
	Calls int
	Per   time.Duration // a second or a minute
}

// AppType is the kind of an app.
type AppType string

// The types of apps.
const (
	Official    AppType = "official"
	MiniProgram AppType = "miniprogram"
)

// App is an official account or a mini program.
type App struct {
	Pos            Pos
	Name           string
	Type           AppType
	AppID          string
	AppSecret      string // a secret; "" where there is none
	Token          string // a secret
	EncodingAESKey string // 43 characters, a secret; "" in plain mode
	Mode           string // encrypted, compatible or plain
	Previous       *Previous
	CallbackPath   string // "" where there is none; begins with /
	MaxSkew        time.Duration
	Labels         map[string]string
	Pipeline       *Pipeline
	Limits         AppLimits
	APIBase        string // of WeChat's API: https, or http to this machine; no slash at its end
	API            API
	Credentials    Credentials
	Upstreams      map[string]*Upstream // by the plugins' names for them; as Grants.Fetch, which it goes before
	JSAPI          *JSAPI               // nil: its pages get no signatures
	OAuth          *OAuth               // nil: nobody logs in; of a mini program never nil
	DomainFiles    map[string]string    // what is in a file NAME.txt of the public listener, by its name
	// Configs holds the merged config of each plugin that the app's pipeline
	// uses, by the plugin's name.
	Configs map[string]PluginConfig
}

// API bounds an app's calls of WeChat's API, of plugins and callers together.
// A pattern is [METHOD ]/segment/…, where * is any part of a segment and **, a
// segment of its own, any number of segments; a call counts with every pattern
// that it matches.
type API struct {
	Timeout time.Duration    // of one call; of a stream, between bytes
	Rate    map[string]Rate  // by pattern
	Daily   map[string]int64 // calls a day, China's, by pattern, all hosts together
}

// CredentialSource says who fetches an app's credentials.
type CredentialSource string

// The sources of credentials.
const (
	FromWeChat CredentialSource = "wechat" // the host
	FromHTTP   CredentialSource = "http"   // a service, which the host asks
	FromRedis  CredentialSource = "redis"  // somebody who puts them into the store's Redis
)

// Credentials is where an app's access_token and tickets come from.
type Credentials struct {
	From     CredentialSource
	Plain    bool           // FromWeChat: by the older call, not stable_token
	Upstream *Upstream      // FromHTTP; nil where Options.NoEnv left it open
	Keys     CredentialKeys // FromRedis
}

// CredentialKeys are keys in Redis, as they stand; "" where a kind has none.
type CredentialKeys struct{ AccessToken, JSAPITicket, WXCardTicket string }

// JSAPI says which pages may call WeChat's JavaScript. An origin is as a browser
// writes it: scheme://host[:port] in small letters, without the scheme's own port.
type JSAPI struct {
	Hosts   []string // origins of the pages that a signature is for
	Origins []string // origins of the pages whose scripts may read the answer
}

// Claim is what the token of a session tells its reader.
type Claim string

// The claims of sessions.
const (
	ClaimOpenID  Claim = "openid"
	ClaimUnionID Claim = "unionid"
)

// OAuth is how an app's users log in. Session and Refresh are at least a minute,
// Refresh is no less than Session.
type OAuth struct {
	// Redirects are beginnings of where users may be sent: an origin as those of
	// JSAPI, then a path of at least /, in which nothing is encoded or of dots. None
	// of a mini program.
	Redirects []string
	Claims    []Claim
	Session   time.Duration // life of a session's token
	Refresh   time.Duration // life of a refresh token
	// AuthorizeBase is an http or https address, without a / at its end, of whose
	// /connect/oauth2/authorize browsers are sent to.
	AuthorizeBase string
}

// AppLimits are the bounds of an app.
type AppLimits struct {
	Inflight int // events at once; 0: its part of the room
	Workers  int // durable runs at once; 0: its part of the workers
	Queue    int // entries of the durable queue that are not dead
}

// Previous is what an app accepts beside its own while one of them is changed.
// What the file leaves out is filled in with the app's.
type Previous struct {
	Token          string // a secret
	EncodingAESKey string // a secret; "" where nothing needs it
	Mode           string // encrypted, compatible or plain
	Until          time.Time
}

// PluginConfig is a plugin's config with an app's `with` over it (RFC 7386).
type PluginConfig struct {
	// JSON is canonical: UTF-8, keys sorted by bytes, no white space, numbers
	// as YAML has them.
	JSON []byte
	// ID is the first 8 bytes, big endian, of SHA-256 of JSON.
	ID uint64
	// Pos is where to look for what is wrong in it: the app's `with` of this
	// plugin, else the plugin's `config`, else the plugin.
	Pos Pos
	// PosOf finds the place of a value by its JSON pointer, such as
	// /rules/0/match; the nearest parent where the value has no place of its own.
	PosOf func(pointer string) Pos
	// Unknown holds the JSON pointers of values that Options.NoEnv left open.
	// JSON has null for one without quotes, "" for one with.
	Unknown []string
}

// Open tells whether a problem of the value at pointer may come from one that
// NoEnv left open: it is that value, in it, or holds it.
func (c PluginConfig) Open(pointer string) bool {
	for _, u := range c.Unknown {
		if u == pointer || strings.HasPrefix(u, pointer+"/") || strings.HasPrefix(pointer, u+"/") {
			return true
		}
	}
	return false
}

// Plugin is an entry of plugins.
type Plugin struct {
	Pos    Pos
	Name   string
	Source string // file, absolute or relative to the working directory
	Grants Grants
	Limits Limits
	// StateOf is the plugin whose state it reads and writes; nil: its own. That one
	// has none itself.
	StateOf *Plugin
	// Isolation says who shares an instance.
	Isolation Isolation
	// Apps are the apps whose pipeline uses the plugin.
	Apps []*App
}

// StateOwner is the name of the plugin whose state the plugin reads and writes.
func (p *Plugin) StateOwner() string {
	if p.StateOf != nil {
		return p.StateOf.Name
	}
	return p.Name
}

// Grants is what a plugin may use.
type Grants struct {
	State bool
	API   []string             // patterns of WeChat's paths: see API
	Fetch map[string]*Upstream // by the plugin's own names; nil where Options.NoEnv left it open
}

// Limits are the operator's; 0 where there is none.
type Limits struct {
	Memory    int64         // bytes of one instance
	Timeout   time.Duration // of one call
	Fuel      int64         // instructions of one call
	Instances int           // at once
	State     int64         // bytes in each app
	HostCalls int           // for one event
	Response  int64         // bytes that host calls answer for one event
	Log       int64         // bytes of log lines for one event
}

// Isolation says who shares an instance of a plugin.
type Isolation string

// The forms of isolation.
const (
	IsolationShared Isolation = "shared" // all apps
	IsolationApp    Isolation = "app"    // the events of one app
	IsolationEvent  Isolation = "event"  // nobody: each event finds the instance as it started
)

// MaxAnswerWithin is the most that a Pipeline's AnswerWithin can be: WeChat hangs
// up after 5 s.
const MaxAnswerWithin = 4900 * time.Millisecond

// Pipeline is an entry of pipelines.
type Pipeline struct {
	Pos          Pos
	Name         string // unique in its file
	Unit         string // Source.Name of the file that it stands in; "" for the root
	AnswerWithin time.Duration
	Deadline     time.Duration
	Dedupe       time.Duration // 0: off
	OrderUser    bool
	Overflow     Overflow
	OnError      OnError
	Stages       []*Stage
	Always       []*Stage
}

// Label is the pipeline's name among those of all files, the same as long as
// neither its name nor its file's place beside the root changes.
func (p *Pipeline) Label() string {
	if p.Unit == "" {
		return p.Name
	}
	return p.Unit + ":" + p.Name
}

// InUnit tells whether a Label is of a pipeline in an included file, by the
// file's Source.Name.
func InUnit(label, unit string) bool {
	i := strings.LastIndexByte(label, ':') // no pipeline's name has one
	return i >= 0 && label[:i] == unit
}

// Overflow says what becomes of an event over a bound of those in flight.
type Overflow string

// The forms of overflow.
const (
	OverflowQueue Overflow = "queue" // durable, run later
	OverflowAck   Overflow = "ack"   // success, dropped, counted
)

// Stage is one step. Exactly one of Plugin, Reply, Forward, Switch and Parallel
// is set.
type Stage struct {
	Pos     Pos
	Name    string   // unique in its pipeline
	When    string   // "": always
	WhenPos Pos      // zero: there is no when; with When "" Options.NoEnv left it open
	OnError *OnError // nil: the pipeline's, Queue where Async
	Plugin  *Plugin
	Async   bool    // of a Plugin or a Forward: run from the durable queue, off the reply path
	Canary  *Canary // of a Plugin; nil: it gets all events
	// Shadow gets the events of a Plugin or a Forward after the answer, without
	// effect; nil: there is none.
	Shadow    *Plugin
	ShadowPos Pos
	Reply     *Reply
	Forward   *Forward
	Switch    []*Branch
	Parallel  []*Stage // side by side: each is a branch
}

// Forward sends the event to an upstream.
type Forward struct {
	To *Upstream
	As ForwardAs
}

// ForwardAs says what an upstream gets.
type ForwardAs string

// The forms of a forward.
const (
	ForwardRaw  ForwardAs = "raw"  // the callback as it came
	ForwardJSON ForwardAs = "json" // the event
)

// Canary gives some of a stage's events to another plugin.
type Canary struct {
	Pos      Pos
	To       *Plugin
	Apps     []string // names of apps all of whose events To gets
	Users    []string // openids of users all of whose events To gets
	Percent  Percent  // of all other users
	Rollback Rollback
	// Lines is a digest of the stage's lines as they stand in the file, before ${…}
	// is expanded; neither comments nor where they stand is part of it.
	Lines string
}

// Rollback says when a canary ends by itself: when of MinEvents or more events
// within Window the share of Errors has failed.
type Rollback struct {
	Errors    Percent
	MinEvents int
	Window    time.Duration
}

// Percent is a share in thousandths of a percent, 0 to 100,000.
type Percent int

// String returns the share as pipeline.yaml has it: 10%, 0.5%.
func (p Percent) String() string {
	return strconv.FormatFloat(float64(p)/1000, 'f', -1, 64) + "%"
}

// Branch is one way of a switch.
type Branch struct {
	Pos     Pos
	When    string // "": the rest
	WhenPos Pos    // as of a Stage
	Stages  []*Stage
}

// OnErrorKind says what follows a stage's error.
type OnErrorKind string

// The forms of on_error.
const (
	Skip      OnErrorKind = "skip"
	Stop      OnErrorKind = "stop"
	Queue     OnErrorKind = "queue"
	Again     OnErrorKind = "again"
	GiveReply OnErrorKind = "reply"
	Instead   OnErrorKind = "plugin"
)

// OnError is what follows a stage's error.
type OnError struct {
	Kind   OnErrorKind
	Reply  *Reply  // GiveReply
	Plugin *Plugin // Instead
}

// Reply is a fixed answer: the JSON of Reply in hostapi. Exactly one is set.
type Reply struct {
	Text     *Text
	Image    *Media
	Voice    *Media
	Video    *Video
	Music    *Music
	News     *News
	Transfer *Transfer
	Raw      *Raw
}

// The bodies of a Reply, as in hostapi.
type (
	Text    struct{ Content string }
	Media   struct{ MediaID string }
	Video   struct{ MediaID, Title, Description string }
	Music   struct{ Title, Description, URL, HQURL, ThumbMediaID string }
	News    struct{ Articles []Article }
	Article struct{ Title, Description, PicURL, URL string }
	// Transfer hands over to human customer service.
	Transfer struct{ Account string }
	// Raw is base64 in the file, as proto3 JSON has bytes.
	Raw struct{ Body []byte }
)
