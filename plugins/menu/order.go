package main

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weft-dev/weft/sdk"
)

const (
	// recordKey holds a user's record in the user's state.
	recordKey = "order"
	// numbersKey counts the app's orders.
	numbersKey = "orders"
	// rerun is how long the host runs an event again by itself (hostapi.md).
	rerun = time.Hour
	// tries bounds how often a step is tried when other messages of the same
	// user get in between. A try is lost to a step that another one won, so only
	// a user with more messages than this in flight at once can use them up.
	tries = 32
)

var errCrowded = errors.New("order: too many messages of this user at once")

// converse takes the event for a step of the user's order and answers it; Next
// where the user has no order under way.
//
// A step is one compare-and-set of the user's record, so two messages at the
// same time are two steps, one after the other. The record holds the events
// that made its latest steps with their answers: one that is run again, because
// the host died or an error followed, changes nothing and gets the same answer.
func (o *order) converse(c *sdk.Call) (sdk.Outcome, error) {
	state := c.UserState()
	kept, _, err := state.Get(recordKey)
	if err != nil {
		return sdk.Next, err
	}
	var number int64
	for range tries {
		r, err := decodeRecord(kept)
		if err != nil {
			c.Warn("the user's order is lost: %v", err)
		}
		if a, ok := r.answered(c.Event.ID); ok {
			return o.say(c, a)
		}
		r, a, ok := o.step(r, c.Event)
		if !ok {
			return sdk.Next, nil
		}
		if a.says == saysPlaced {
			// Before the record changes: a number that a lost try leaves unused
			// is a gap, an order without a number would be a loss.
			if number == 0 {
				number, err = c.State().Add(numbersKey, 1, sdk.StateOptions{Once: "number"})
			}
			if err != nil {
				return sdk.Next, err
			}
			a.number = number
		}
		r.remember(c.Event.ID, a)
		done, current, err := state.CompareAndSet(recordKey, kept, r.encode(), sdk.StateOptions{TTL: o.timeout() + rerun})
		if err != nil {
			return sdk.Next, err
		}
		if done {
			return o.say(c, a)
		}
		kept = current
	}
	return sdk.Next, errCrowded
}

// say gives an answer to the user, and a placed order to later stages.
func (o *order) say(c *sdk.Call, a answer) (sdk.Outcome, error) {
	if a.says == saysPlaced {
		err := errors.Join(
			c.Annotate("order", strconv.FormatInt(a.number, 10)),
			c.Annotate("order_product", a.product),
			c.Annotate("order_quantity", strconv.Itoa(a.quantity)))
		if err != nil {
			return sdk.Next, err
		}
	}
	return sdk.Done, c.ReplyText(o.text(a))
}

// step returns the record after an event and what to say to it; false where the
// event has no part in an order. It decides by the event's own time, not by the
// clock, so that an event that waited in a queue counts as it was sent.
func (o *order) step(r record, e *sdk.Event) (record, answer, bool) {
	if e.Created != 0 && e.Created < r.began {
		return r, answer{}, false // sent before this order began
	}
	if e.Type == "event" {
		r = record{waits: forProduct, began: e.Created, past: r.past}
		r.extend(e.Created, o.timeout())
		return r, answer{says: saysProduct}, true
	}
	if r.waits == forNothing {
		return r, answer{}, false
	}
	if r.until != 0 && e.Created > r.until {
		return r.ended(), answer{says: saysExpired}, true
	}
	r.extend(e.Created, o.timeout())
	r, a := o.hear(r, strings.TrimSpace(e.Content))
	return r, a, true
}

// hear returns the record after a user's words and what to say to them.
func (o *order) hear(r record, words string) (record, answer) {
	if said(o.CancelWords, words) {
		return r.ended(), answer{says: saysCancelled}
	}
	a := answer{product: r.product, quantity: r.quantity}
	switch r.waits {
	case forProduct:
		product, ok := o.product(words)
		if !ok {
			return r, answer{says: saysProductAgain}
		}
		r.waits, r.product = forQuantity, product
		return r, answer{says: saysQuantity, product: product}
	case forQuantity:
		n, ok := integer(words)
		if !ok || n < 1 || n > o.MaxQuantity {
			a.says = saysQuantityAgain
			return r, a
		}
		r.waits, r.quantity = forConfirm, n
		a.says, a.quantity = saysConfirm, n
		return r, a
	default:
		if !said(o.ConfirmWords, words) {
			a.says = saysConfirmAgain
			return r, a
		}
		a.says = saysPlaced
		return r.ended(), a
	}
}

// product finds a product by its name or by its number in the list.
func (o *order) product(words string) (string, bool) {
	for _, p := range o.Products {
		if strings.EqualFold(p, words) {
			return p, true
		}
	}
	if n, ok := integer(words); ok && n >= 1 && n <= len(o.Products) {
		return o.Products[n-1], true
	}
	return "", false
}

// said tells whether words is one of list; letter case doesn't count.
func said(list []string, words string) bool {
	return slices.ContainsFunc(list, func(w string) bool { return strings.EqualFold(w, words) })
}

// integer reads a number of digits, also of the full width that Chinese
// keyboards type.
func integer(s string) (int, bool) {
	n, digits := 0, 0
	for _, r := range s {
		switch {
		case r >= '0' && r <= '9':
			r -= '0'
		case r >= '０' && r <= '９':
			r -= '０'
		default:
			return 0, false
		}
		if digits++; digits > 9 {
			return 0, false
		}
		n = n*10 + int(r)
	}
	return n, digits > 0
}
