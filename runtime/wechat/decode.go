package wechat

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
	"unsafe"

	"github.com/weft-dev/weft/hostapi"
)

// Leaves of the header, at the top level. All but Content are trimmed.
const (
	toUserName = iota
	fromUserName
	createTime
	msgType
	eventName
	eventKey
	content
	msgID      // MsgId: ordinary messages
	msgIDUpper // MsgID: template, mass and subscribe results
	infoType   // in place of MsgType in pushes to third-party platforms
	headers
)

func headerOf(name []byte) int {
	switch string(name) {
	case "ToUserName":
		return toUserName
	case "FromUserName":
		return fromUserName
	case "CreateTime":
		return createTime
	case "MsgType":
		return msgType
	case "Event":
		return eventName
	case "EventKey":
		return eventKey
	case "Content":
		return content
	case "MsgId":
		return msgID
	case "MsgID":
		return msgIDUpper
	case "InfoType":
		return infoType
	}
	return -1
}

// Decode makes the event of an opened callback for app, its name in
// pipeline.yaml. It sets ID, App, Type, Event, Key, From, To, Created, Content,
// MsgID, Fields, User, Scene, Format, Origin and Raw, and leaves the rest alone.
// Raw is o.Body itself and the strings are pieces of it, so that it must not
// change from then on.
//
// Every leaf of the callback is in the header's fields or in Fields, each once.
// What is where, and the bounds, say hostapi.md's 'Messages' and 'Names of
// leaves'; what they leave open:
//
//   - A CreateTime that is no number, an Event beside an InfoType that took its
//     place, and an InfoType that did not are in Fields.
//   - Line ends of XML are line feeds (XML 1.0, 2.11).
//   - A document without any leaf is undecodable.
//
// Every error wraps ErrUndecodable, and ev is unchanged then.
func Decode(app string, o Opened, ev *hostapi.Event) error {
	var d decoded
	f := o.Format
	if f == 0 {
		f = Sniff(o.Body)
	}
	if err := d.scan(f, o.Body); err != nil {
		return fmt.Errorf("%w: %w", ErrUndecodable, err)
	}
	if err := d.header(); err != nil {
		return fmt.Errorf("%w: %s", ErrUndecodable, err)
	}
	if d.odd {
		if err := d.paths(); err != nil {
			return fmt.Errorf("%w: %s", ErrUndecodable, err)
		}
	}
	ev.App, ev.Origin, ev.Format, ev.Raw = app, "wechat", f.String(), o.Body
	d.values()
	d.event(ev)
	ev.ID = d.identity(ev)
	return nil
}

// scan takes a body of a format apart.
func (t *tree) scan(f Format, body []byte) error {
	t.body = body
	switch {
	case len(body) > maxBody:
		return &syntaxError{f, maxBody, "longer than can be"}
	case f == XML:
		return t.scanXML()
	case f == JSON:
		return t.scanJSON()
	}
	return &syntaxError{XML, 0, "neither XML nor a JSON object"}
}

// decoded is a tree on its way to an event.
type decoded struct {
	tree
	value [headers]string // the header's values
	rest  [headers]bool   // which of them belong into Fields all the same
	id    string          // MsgId or MsgID
}

type headerError string

func (e headerError) Error() string { return string(e) }

// header checks what must hold of the header.
func (d *decoded) header() error {
	if d.leaves == 0 {
		return headerError("it holds nothing")
	}
	if d.twice != 0 {
		return headerError(string(d.bytes(d.at(d.twice).name)) + " is there twice")
	}
	for _, id := range d.head {
		if n := d.at(id); id != 0 && !n.leaf {
			return headerError(string(d.bytes(n.name)) + " is not a plain value")
		}
	}
	return nil
}

// paths sets the names of all leaves to their whole names.
func (d *decoded) paths() error {
	// A name is joined from names further up, which are not leaves': so names
	// can be set one by one.
	for i := range d.size {
		n := d.at(i)
		if !n.leaf || n.parent == 0 && !n.indexed() {
			continue
		}
		name, ok := d.path(i)
		if !ok {
			return headerError("a name is longer than 256 bytes")
		}
		n.name = name
	}
	return nil
}

// str returns the text of s without a copy. Neither body nor aux is changed
// once the document was taken apart, as Decode says of the body.
func (d *decoded) str(s span) string {
	b := d.bytes(s)
	return unsafe.String(unsafe.SliceData(b), len(b))
}

// values sets the header's values, all but Content trimmed.
func (d *decoded) values() {
	for h, id := range d.head {
		if id == 0 {
			continue
		}
		if d.value[h] = d.str(d.at(id).value); h != content {
			d.value[h] = trim(d.value[h])
		}
	}
}

// trim is strings.TrimSpace, quick where there is nothing to do.
func trim(s string) string {
	if n := len(s); n == 0 || s[0] > ' ' && s[n-1] > ' ' && s[0]|s[n-1] < utf8.RuneSelf {
		return s
	}
	return strings.TrimSpace(s)
}

func (d *decoded) event(ev *hostapi.Event) {
	v := &d.value
	ev.Type, ev.To, ev.From = v[msgType], v[toUserName], v[fromUserName]
	ev.Key, ev.Content = v[eventKey], v[content]

	// Without MsgType, InfoType is the event's name.
	name, info := v[eventName], ev.Type == "" && v[infoType] != ""
	if info {
		name = v[infoType]
	}
	d.rest[eventName], d.rest[infoType] = info, !info
	ev.Event = Documented(name)
	ev.Created, d.rest[createTime] = seconds(v[createTime])

	ev.MsgID = v[msgID]
	if d.id = v[msgID]; d.id == "" {
		d.id = v[msgIDUpper]
	}
	if d.head[msgID] == 0 {
		ev.MsgID = d.id
	} else {
		d.rest[msgIDUpper] = true
	}
	ev.Scene = scene(ev.Event, ev.Key)
	d.fields(ev)
}

// seconds reads a CreateTime. strange is true, and the time 0, where it is no
// number of 64 bits.
func seconds(s string) (sec int64, strange bool) {
	if sec, ok := digits(s); ok {
		return sec, false
	}
	sec, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, true
	}
	return sec, false
}

// fields sets Fields and User.
func (d *decoded) fields(ev *hostapi.Event) {
	taken := 0
	for h, id := range d.head {
		if id != 0 && !d.rest[h] {
			taken++
			d.at(id).taken = true
		}
	}
	ev.Fields, ev.User = nil, ev.From
	if d.leaves == taken {
		return
	}
	ev.Fields = make([]hostapi.Field, 0, d.leaves-taken)
	user := ""
	for i := range d.size {
		n := d.at(i)
		if !n.leaf || n.taken {
			continue
		}
		f := hostapi.Field{Name: d.str(n.name), Value: d.str(n.value)}
		ev.Fields = append(ev.Fields, f)
		if user == "" && n.parent == 0 && isOpenID(f.Name) {
			user = trim(f.Value)
		}
	}
	if user != "" {
		ev.User = user
	}
}

func isOpenID(name string) bool {
	switch len(name) {
	case len("openid"):
		return strings.EqualFold(name, "openid")
	case len("open_id"):
		return strings.EqualFold(name, "open_id")
	}
	return false
}

// scene returns the scene of a parametric QR code: subscribe has it after
// qrscene_, SCAN as it is. A trade number (last_trade_no_, subscribe after a
// payment) is no scene.
func scene(event, key string) string {
	switch event {
	case "subscribe":
		s, ok := strings.CutPrefix(key, "qrscene_")
		if ok {
			return s
		}
	case "SCAN":
		if !strings.HasPrefix(key, "last_trade_no_") {
			return key
		}
	}
	return ""
}

// idLen is the length of Event.id.
const idLen = 32

// identity returns Event.id (pipeline.md, 'Same event again'). Names and
// values of leaves are taken as they stand, header and event names as in ev.
func (d *decoded) identity(ev *hostapi.Event) string {
	var small [256]byte
	b := appendPart(small[:0], ev.App)
	if d.id != "" {
		b = appendPart(b, ev.To)
		b = appendPart(b, ev.Type)
		b = appendPart(b, ev.Event)
		b = appendPart(b, d.id)
		b = appendPart(b, ev.From)
		b = appendPart(b, d.value[createTime])
	} else {
		for i := range d.size {
			if n := d.at(i); n.leaf {
				b = appendBytesPart(b, d.bytes(n.name))
				b = appendBytesPart(b, d.bytes(n.value))
			}
		}
	}
	sum := sha256.Sum256(b)
	var digits [idLen]byte
	hex.Encode(digits[:], sum[:idLen/2])
	return string(digits[:])
}

func appendPart(b []byte, s string) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
	return append(b, s...)
}

func appendBytesPart(b, s []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
	return append(b, s...)
}
