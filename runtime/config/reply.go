package config

import (
	"encoding/base64"
	"strings"
)

// Bounds of replies. A text over maxText is given, and cut by WeChat; an encoded
// reply is at most 64 KiB.
const (
	maxText     = 2048
	maxReply    = 60 << 10 // leaves room for the encoding
	maxArticles = 10
)

func replySection() section[Reply] {
	return section[Reply]{
		name: "reply",
		doc:  "a fixed answer, the JSON of Reply: exactly one of these",
		one:  replyKinds(),
		keys: []key[Reply]{
			{
				name: "text", doc: "a text; `text: S` is short for { content: S }",
				value: to(short(textSection, func(s string) *Text { return &Text{Content: s} }), func(r *Reply) **Text { return &r.Text }),
			},
			{
				name: "image", doc: "an image; `image: S` is short for { media_id: S }",
				value: to(short(mediaSection, func(s string) *Media { return &Media{MediaID: s} }), func(r *Reply) **Media { return &r.Image }),
			},
			{
				name: "voice", doc: "a voice; `voice: S` is short for { media_id: S }",
				value: to(short(mediaSection, func(s string) *Media { return &Media{MediaID: s} }), func(r *Reply) **Media { return &r.Voice }),
			},
			{
				name: "video", doc: "a video",
				value: to(nested("a mapping", videoSection), func(r *Reply) **Video { return &r.Video }),
			},
			{
				name: "music", doc: "a piece of music",
				value: to(nested("a mapping", musicSection), func(r *Reply) **Music { return &r.Music }),
			},
			{
				name: "news", doc: "articles",
				value: to(nested("a mapping", newsSection), func(r *Reply) **News { return &r.News }),
			},
			{
				name: "transfer", doc: "hands over to human customer service",
				value: to(nested("a mapping", transferSection), func(r *Reply) **Transfer { return &r.Transfer }),
			},
			{
				name: "raw", doc: "the answer as it stands, in the format of the callback",
				value: to(nested("a mapping", rawSection), func(r *Reply) **Raw { return &r.Raw }),
			},
		},
	}
}

func replyKinds() []string {
	return []string{"text", "image", "voice", "video", "music", "news", "transfer", "raw"}
}

// replyKind reads a Reply: a mapping with exactly one of its keys.
func replyKind() kind[*Reply] {
	what := "a reply, such as { text: hello }"
	return kind[*Reply]{
		shape: shape{form: "section", what: what, section: func() described { return replySection() }},
		read: func(d *decoder, n *node) (*Reply, bool) {
			if n.unknown {
				return nil, false
			}
			r := new(Reply)
			if !replySection().decode(d, n, r) {
				return nil, false
			}
			known := 0
			for _, name := range replyKinds() {
				if n.get(name) != nil {
					known++
				}
			}
			switch {
			case known == 0 && len(n.entries) == 0:
				d.add(n.from, "the reply is empty", "it has one of "+strings.Join(replyKinds(), ", "))
			case known > 1:
				d.add(n.pos, "a reply has one of "+strings.Join(replyKinds(), ", "), "keep one")
			case r.Text != nil && len(r.Text.Content) > maxText:
				d.warn(n.pos, d.where()+": WeChat shows 2048 bytes of a text", "shorten it")
			case r.size() > maxReply:
				d.add(n.pos, "the reply is over 60 KiB", "shorten it")
			}
			return r, true
		},
	}
}

// size is about what the reply takes when it is encoded, in bytes.
func (r *Reply) size() int {
	sum := 0
	count := func(texts ...string) {
		for _, s := range texts {
			sum += len(s) + 8
		}
	}
	if r.Text != nil {
		count(r.Text.Content)
	}
	if r.Video != nil {
		count(r.Video.MediaID, r.Video.Title, r.Video.Description)
	}
	if r.Music != nil {
		count(r.Music.Title, r.Music.Description, r.Music.URL, r.Music.HQURL, r.Music.ThumbMediaID)
	}
	if r.News != nil {
		for _, a := range r.News.Articles {
			count(a.Title, a.Description, a.PicURL, a.URL)
		}
	}
	if r.Raw != nil {
		sum += len(r.Raw.Body)
	}
	return sum
}

// short reads a section that may also be written as one text.
func short[T any](sec func() section[T], from func(string) *T) kind[*T] {
	long := nested("a mapping", sec)
	one := anyText(maxReply)
	s := one.shape
	s.what, s.other = "a text or a mapping", []shape{long.shape}
	return kind[*T]{shape: s, read: func(d *decoder, n *node) (*T, bool) {
		if n.kind == mapping {
			return long.read(d, n)
		}
		v, ok := one.read(d, n)
		return from(v), ok
	}}
}

func textSection() section[Text] {
	return section[Text]{
		name: "reply.text", doc: "a text",
		keys: []key[Text]{{
			name: "content", required: true, doc: "what is said",
			value: to(anyText(maxReply), func(t *Text) *string { return &t.Content }),
		}},
	}
}

func mediaSection() section[Media] {
	return section[Media]{
		name: "reply.image", doc: "an image or a voice",
		keys: []key[Media]{{
			name: "media_id", required: true, doc: "its media id",
			value: to(anyText(1024), func(m *Media) *string { return &m.MediaID }),
		}},
	}
}

func videoSection() section[Video] {
	return section[Video]{
		name: "reply.video", doc: "a video",
		keys: []key[Video]{
			{
				name: "media_id", required: true, doc: "its media id",
				value: to(anyText(1024), func(v *Video) *string { return &v.MediaID }),
			},
			{
				name: "title", doc: "its title",
				value: to(anyText(4096), func(v *Video) *string { return &v.Title }),
			},
			{
				name: "description", doc: "what it is about",
				value: to(anyText(4096), func(v *Video) *string { return &v.Description }),
			},
		},
	}
}

func musicSection() section[Music] {
	return section[Music]{
		name: "reply.music", doc: "a piece of music",
		keys: []key[Music]{
			{
				name: "title", doc: "its title",
				value: to(anyText(4096), func(m *Music) *string { return &m.Title }),
			},
			{
				name: "description", doc: "what it is about",
				value: to(anyText(4096), func(m *Music) *string { return &m.Description }),
			},
			{
				name: "url", doc: "where it is",
				value: to(anyText(4096), func(m *Music) *string { return &m.URL }),
			},
			{
				name: "hq_url", doc: "where it is in better quality, for Wi-Fi",
				value: to(anyText(4096), func(m *Music) *string { return &m.HQURL }),
			},
			{
				name: "thumb_media_id", required: true, doc: "media id of its picture",
				value: to(anyText(1024), func(m *Music) *string { return &m.ThumbMediaID }),
			},
		},
	}
}

func newsSection() section[News] {
	return section[News]{
		name: "reply.news", doc: "articles",
		keys: []key[News]{{
			name: "articles", required: true, doc: "1 to 10; WeChat shows one in answer to most messages",
			value: to(articleList(), func(n *News) *[]Article { return &n.Articles }),
		}},
	}
}

func articleList() kind[[]Article] {
	k := listOf("a list of 1 to 10 articles", nestedValue("an article", articleSection))
	k.shape.low, k.shape.high = 1, maxArticles
	plain := k.read
	k.read = func(d *decoder, n *node) ([]Article, bool) {
		if n.isNull() || n.kind == list && (len(n.items) == 0 || len(n.items) > maxArticles) {
			d.add(n.from, "must be "+k.shape.what, "")
			return nil, false
		}
		return plain(d, n)
	}
	return k
}

func articleSection() section[Article] {
	return section[Article]{
		name: "reply.news.articles[]", doc: "one article",
		keys: []key[Article]{
			{
				name: "title", required: true, doc: "its title",
				value: to(anyText(4096), func(a *Article) *string { return &a.Title }),
			},
			{
				name: "description", doc: "what it is about",
				value: to(anyText(4096), func(a *Article) *string { return &a.Description }),
			},
			{
				name: "pic_url", doc: "its picture",
				value: to(anyText(4096), func(a *Article) *string { return &a.PicURL }),
			},
			{
				name: "url", doc: "where it leads",
				value: to(anyText(4096), func(a *Article) *string { return &a.URL }),
			},
		},
	}
}

func transferSection() section[Transfer] {
	return section[Transfer]{
		name: "reply.transfer", doc: "hands over to human customer service",
		keys: []key[Transfer]{{
			name: "account", doc: "who is to take over; left out: anybody",
			value: to(anyText(1024), func(t *Transfer) *string { return &t.Account }),
		}},
	}
}

func rawSection() section[Raw] {
	return section[Raw]{
		name: "reply.raw", doc: "the answer as it stands",
		keys: []key[Raw]{{
			name: "body", required: true, doc: "base64",
			value: to(base64Kind(), func(r *Raw) *[]byte { return &r.Body }),
		}},
	}
}

// base64Kind reads bytes as proto3 JSON has them: both alphabets, with and
// without padding.
func base64Kind() kind[[]byte] {
	return single(shape{form: "string", what: "base64", pattern: `^[A-Za-z0-9+/_\r\n-]+=*$`}, false, func(s string) ([]byte, error) {
		s = strings.TrimRight(strings.NewReplacer("-", "+", "_", "/").Replace(s), "=")
		b, err := base64.RawStdEncoding.DecodeString(s)
		if err != nil || len(b) == 0 {
			return nil, notThat()
		}
		return b, nil
	})
}
