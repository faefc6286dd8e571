package hostapi

// Event is one decoded callback of WeChat, or an event derived from one, as
// stages and plugins see it. Its fields are those of the message Event in
// weft.proto, where each is described.
//
// An Event that the host hands on is shared between stages: whoever receives
// it does not change it.
type Event struct {
	ID      string // delivery identity, 32 hex digits, made by the host
	App     string // name in pipeline.yaml
	AppID   string
	Type    string // MsgType: text, image, ..., event
	Event   string // Event in its documented spelling; an unknown one as sent, trimmed
	Key     string // EventKey
	From    string // FromUserName, an openid
	To      string // ToUserName
	Created int64  // CreateTime, Unix seconds; 0 where there is none
	Content string
	MsgID   string // MsgId or MsgID; may be over 2^53, or not a number

	// Fields holds every other leaf in document order, nothing dropped, with
	// exact values. List members carry an index: List[0].TemplateId.
	Fields []Field
	// Attrs holds the annotations of earlier stages.
	Attrs []Field
	// Reply is the reply set so far; nil where there is none.
	Reply *Reply

	TraceParent string // W3C
	DeadlineMS  int64  // left for this call, milliseconds
	Raw         []byte // decrypted body; a plugin sees it only where its manifest says raw: true
	Origin      string // wechat, plugin, schedule, api or identity
	User        string // whom it is about, an openid
	Scene       string // QR scene of subscribe and SCAN, without qrscene_
	ConfigID    uint64 // first 8 bytes, big endian, of SHA-256 of the config's canonical JSON
	Attempt     uint32 // 1, and more when a durable event is run again
	Format      string // xml or json: how the callback came
	AppType     string // official or miniprogram
}

// Field is a leaf of a callback or an annotation.
type Field struct {
	Name  string
	Value string
}
