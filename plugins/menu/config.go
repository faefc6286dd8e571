package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weft-dev/weft/sdk"
)

// settings is the plugin's config, compiled. It is made once for each config,
// not for each event.
type settings struct {
	items map[string]item // by EventKey
	order *order          // nil: no conversation
}

// item is what a click does: it gives reply, or where that is nil it begins the
// order.
type item struct{ reply *sdk.Reply }

// order is what the config says of the conversation.
type order struct {
	Products       []string          `json:"products"`
	MaxQuantity    int               `json:"max_quantity"`
	TimeoutMinutes int               `json:"timeout_minutes"`
	ConfirmWords   []string          `json:"confirm_words"`
	CancelWords    []string          `json:"cancel_words"`
	Texts          map[string]string `json:"texts"` // by name; the names are the constants says…

	list string // the products, numbered, a line each
}

// The names of the texts in the config.
const (
	saysProduct       = "product"
	saysProductAgain  = "product_again"
	saysQuantity      = "quantity"
	saysQuantityAgain = "quantity_again"
	saysConfirm       = "confirm"
	saysConfirmAgain  = "confirm_again"
	saysPlaced        = "placed"
	saysCancelled     = "cancelled"
	saysExpired       = "expired"
)

// defaultOrder returns an order of which only the products are to be told.
func defaultOrder() *order {
	return &order{
		MaxQuantity:    99,
		TimeoutMinutes: 10,
		ConfirmWords:   []string{"确认", "是", "好", "ok"},
		CancelWords:    []string{"取消", "退出"},
		Texts: map[string]string{
			saysProduct:       "请问要点什么？\n{products}\n请回复序号或名称，回复“{cancel}”退出。",
			saysProductAgain:  "没有找到这一项，请从下面选：\n{products}",
			saysQuantity:      "{product}，要几份？请回复 1 到 {max} 的数字。",
			saysQuantityAgain: "请回复 1 到 {max} 的数字。",
			saysConfirm:       "{product} × {quantity}，回复“{confirm}”下单，回复“{cancel}”取消。",
			saysConfirmAgain:  "请回复“{confirm}”或“{cancel}”。",
			saysPlaced:        "下单成功！订单号 {number}：{product} × {quantity}。",
			saysCancelled:     "好的，已取消。",
			saysExpired:       "超过 {minutes} 分钟没有回复，点单已取消，请重新点单。",
		},
	}
}

// UnmarshalJSON compiles a config. Its error says all that is wrong, and where.
func (s *settings) UnmarshalJSON(b []byte) error {
	var conf struct {
		Items map[string]struct {
			Reply *sdk.ReplyConfig `json:"reply"`
			Start string           `json:"start"`
		} `json:"items"`
		Order json.RawMessage `json:"order"`
	}
	if err := json.Unmarshal(b, &conf); err != nil {
		return err
	}
	*s = settings{items: make(map[string]item, len(conf.Items))}
	var problems []string
	if conf.Order != nil {
		s.order = defaultOrder()
		if err := json.Unmarshal(conf.Order, s.order); err != nil {
			return fmt.Errorf("order: %w", err)
		}
		s.order.list = numbered(s.order.Products)
		problems = s.order.problems()
	}
	for _, key := range slices.Sorted(maps.Keys(conf.Items)) {
		ic := conf.Items[key]
		switch {
		case ic.Reply != nil:
			r, err := ic.Reply.Reply()
			if err != nil {
				problems = append(problems, "items."+key+".reply"+err.Error())
			}
			s.items[key] = item{reply: r}
		case s.order == nil:
			problems = append(problems, "items."+key+".start: there is no section order; write one, with products")
		default:
			s.items[key] = item{}
		}
	}
	if len(problems) > 0 {
		return errors.New(strings.Join(problems, "; "))
	}
	return nil
}

// problems returns what is wrong with an order that its schema allows.
func (o *order) problems() (list []string) {
	for i, p := range o.Products {
		switch {
		case strings.TrimSpace(p) != p:
			list = append(list, fmt.Sprintf("order.products[%d]: white space around the name, which nobody types", i))
		case said(o.CancelWords, p):
			list = append(list, fmt.Sprintf("order.products[%d]: also in cancel_words, so nobody could order it", i))
		}
	}
	for i, w := range o.ConfirmWords {
		if said(o.CancelWords, w) {
			list = append(list, fmt.Sprintf("order.confirm_words[%d]: also in cancel_words", i))
		}
	}
	longest := slices.MaxFunc(append([]string{""}, o.Products...), func(a, b string) int { return len(a) - len(b) })
	worst := answer{product: longest, quantity: o.MaxQuantity, number: math.MaxInt64}
	for _, name := range slices.Sorted(maps.Keys(o.Texts)) {
		worst.says = name
		if n := len(o.text(worst)); n > sdk.MaxReplyText {
			list = append(list, fmt.Sprintf("order.texts.%s: %d bytes with its placeholders filled in, and WeChat shows %d; shorten it or the list of products", name, n, sdk.MaxReplyText))
		}
		rest := (&order{}).placeholders(answer{}).Replace(o.Texts[name])
		if i := strings.IndexByte(rest, '{'); i >= 0 {
			list = append(list, fmt.Sprintf("order.texts.%s: no such placeholder at %.20q", name, rest[i:]))
		}
	}
	return list
}

// timeout is how long after a user's last message an order is given up.
func (o *order) timeout() time.Duration { return time.Duration(o.TimeoutMinutes) * time.Minute }

// text returns what an answer says.
func (o *order) text(a answer) string { return o.placeholders(a).Replace(o.Texts[a.says]) }

// placeholders replaces what texts may hold; what is not known is nothing.
func (o *order) placeholders(a answer) *strings.Replacer {
	digits := func(n int64) string {
		if n == 0 {
			return ""
		}
		return strconv.FormatInt(n, 10)
	}
	return strings.NewReplacer(
		"{products}", o.list,
		"{product}", a.product,
		"{quantity}", digits(int64(a.quantity)),
		"{number}", digits(a.number),
		"{max}", digits(int64(o.MaxQuantity)),
		"{minutes}", digits(int64(o.TimeoutMinutes)),
		"{confirm}", first(o.ConfirmWords),
		"{cancel}", first(o.CancelWords),
	)
}

// first returns the first of words, "" where there is none.
func first(words []string) string {
	if len(words) == 0 {
		return ""
	}
	return words[0]
}

// numbered returns a line for each product: 1. 美式咖啡
func numbered(products []string) string {
	lines := make([]string, len(products))
	for i, p := range products {
		lines[i] = strconv.Itoa(i+1) + ". " + p
	}
	return strings.Join(lines, "\n")
}
