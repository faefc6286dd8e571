package identity

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"time"
)

// Names of events.
const (
	EventLogin = "login"
	EventPhone = "phone"
)

// Event is what identity tells the pipeline of a user.
type Event struct {
	ID      string // 32 hex digits; the same for what happened once
	App     string
	Name    string // EventLogin, EventPhone
	User    User
	At      time.Time
	NewUser bool   // of a login: the first one
	Phone   string // masked, of a phone number
}

// Events takes events into the pipeline.
type Events interface {
	// Post makes an event durable before it returns nil. An event whose ID was
	// posted before is the same one. Many goroutines call it at once.
	Post(ctx context.Context, e Event) error
}

// eventID is made of what happens once, such as a code. The order and the ends of
// its parts count.
func eventID(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		var n [4]byte
		binary.BigEndian.PutUint32(n[:], uint32(len(p)))
		h.Write(n[:])
		h.Write([]byte(p))
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}
