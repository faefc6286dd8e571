package hostapi

// The numbers of the oneof body, and its kinds by number.
const (
	bodyText     = 1
	bodyImage    = 2
	bodyVoice    = 3
	bodyVideo    = 4
	bodyMusic    = 5
	bodyNews     = 6
	bodyTransfer = 7
	bodyRaw      = 8
)

// Kind names the body: text, image, voice, video, music, news, transfer or
// raw; "" for a Reply without one, and for nil. Where several are set, which
// they should not be, it is the one with the highest number in weft.proto, the
// only one that Append writes.
func (r *Reply) Kind() string {
	names := [...]string{"", "text", "image", "voice", "video", "music", "news", "transfer", "raw"}
	return names[r.body()]
}

// body returns the number of the body, 0 for none.
func (r *Reply) body() int {
	switch {
	case r == nil:
		return 0
	case r.Raw != nil:
		return bodyRaw
	case r.Transfer != nil:
		return bodyTransfer
	case r.News != nil:
		return bodyNews
	case r.Music != nil:
		return bodyMusic
	case r.Video != nil:
		return bodyVideo
	case r.Voice != nil:
		return bodyVoice
	case r.Image != nil:
		return bodyImage
	case r.Text != nil:
		return bodyText
	}
	return 0
}

// Size returns the bytes that Append adds.
func (r *Reply) Size() int {
	num := r.body()
	if num == 0 {
		return 0
	}
	return sizeMessage(num, r.bodySize(num))
}

func (r *Reply) bodySize(num int) int {
	switch num {
	case bodyText:
		return sizeString(1, r.Text.Content)
	case bodyImage:
		return sizeString(1, r.Image.MediaID)
	case bodyVoice:
		return sizeString(1, r.Voice.MediaID)
	case bodyVideo:
		return sizeString(1, r.Video.MediaID) + sizeString(2, r.Video.Title) + sizeString(3, r.Video.Description)
	case bodyMusic:
		m := r.Music
		return sizeString(1, m.Title) + sizeString(2, m.Description) + sizeString(3, m.URL) +
			sizeString(4, m.HQURL) + sizeString(5, m.ThumbMediaID)
	case bodyNews:
		n := 0
		for i := range r.News.Articles {
			n += sizeMessage(1, r.News.Articles[i].size())
		}
		return n
	case bodyTransfer:
		return sizeString(1, r.Transfer.Account)
	case bodyRaw:
		return sizeString(1, r.Raw.Body)
	}
	return 0
}

// Append adds the reply's wire form to b and returns the longer slice; nothing
// for a Reply without a body. Strings are written as they are: a receiver
// refuses one that is not UTF-8.
func (r *Reply) Append(b []byte) []byte {
	return r.appendBody(grow(b, r.Size()))
}

func (r *Reply) appendBody(b []byte) []byte {
	num := r.body()
	if num == 0 {
		return b
	}
	b = appendHeader(b, num, r.bodySize(num))
	switch num {
	case bodyText:
		b = appendString(b, 1, r.Text.Content)
	case bodyImage:
		b = appendString(b, 1, r.Image.MediaID)
	case bodyVoice:
		b = appendString(b, 1, r.Voice.MediaID)
	case bodyVideo:
		b = appendString(b, 1, r.Video.MediaID)
		b = appendString(b, 2, r.Video.Title)
		b = appendString(b, 3, r.Video.Description)
	case bodyMusic:
		b = appendString(b, 1, r.Music.Title)
		b = appendString(b, 2, r.Music.Description)
		b = appendString(b, 3, r.Music.URL)
		b = appendString(b, 4, r.Music.HQURL)
		b = appendString(b, 5, r.Music.ThumbMediaID)
	case bodyNews:
		for i := range r.News.Articles {
			b = r.News.Articles[i].append(b)
		}
	case bodyTransfer:
		b = appendString(b, 1, r.Transfer.Account)
	case bodyRaw:
		b = appendString(b, 1, r.Raw.Body)
	}
	return b
}

// Decode replaces r by the message in b. Unknown fields are skipped; of several
// bodies the last one counts, and the same one again is merged. A message
// without a body that is known here decodes to an empty r. What it keeps is
// copied, so b may be used again. It allocates at most 100 bytes for each
// byte of b. After an error, which is an ErrDecode, r is empty.
func (r *Reply) Decode(b []byte) error {
	*r = Reply{}
	if err := r.merge(string(b)); err != nil {
		*r = Reply{}
		return err
	}
	return nil
}

func (r *Reply) merge(s string) error {
	w := reader{s: s}
	for w.next() {
		switch w.num {
		case bodyText:
			*r = Reply{Text: orNew(r.Text)}
			w.merge(r.Text.merge(w.message()))
		case bodyImage:
			*r = Reply{Image: orNew(r.Image)}
			w.merge(r.Image.merge(w.message()))
		case bodyVoice:
			*r = Reply{Voice: orNew(r.Voice)}
			w.merge(r.Voice.merge(w.message()))
		case bodyVideo:
			*r = Reply{Video: orNew(r.Video)}
			w.merge(r.Video.merge(w.message()))
		case bodyMusic:
			*r = Reply{Music: orNew(r.Music)}
			w.merge(r.Music.merge(w.message()))
		case bodyNews:
			*r = Reply{News: orNew(r.News)}
			w.merge(r.News.merge(w.message()))
		case bodyTransfer:
			*r = Reply{Transfer: orNew(r.Transfer)}
			w.merge(r.Transfer.merge(w.message()))
		case bodyRaw:
			*r = Reply{Raw: orNew(r.Raw)}
			w.merge(r.Raw.merge(w.message()))
		}
	}
	return w.failure("Reply")
}

func orNew[T any](p *T) *T {
	if p == nil {
		return new(T)
	}
	return p
}

func (t *Text) merge(s string) error {
	r := reader{s: s}
	for r.next() {
		if r.num == 1 {
			r.text(&t.Content)
		}
	}
	return r.failure("Text")
}

func (m *Media) merge(s string) error {
	r := reader{s: s}
	for r.next() {
		if r.num == 1 {
			r.text(&m.MediaID)
		}
	}
	return r.failure("Media")
}

func (v *Video) merge(s string) error {
	r := reader{s: s}
	for r.next() {
		switch r.num {
		case 1:
			r.text(&v.MediaID)
		case 2:
			r.text(&v.Title)
		case 3:
			r.text(&v.Description)
		}
	}
	return r.failure("Video")
}

func (m *Music) merge(s string) error {
	r := reader{s: s}
	for r.next() {
		switch r.num {
		case 1:
			r.text(&m.Title)
		case 2:
			r.text(&m.Description)
		case 3:
			r.text(&m.URL)
		case 4:
			r.text(&m.HQURL)
		case 5:
			r.text(&m.ThumbMediaID)
		}
	}
	return r.failure("Music")
}

func (n *News) merge(s string) error {
	r := reader{s: s}
	for r.next() {
		if r.num != 1 {
			continue
		}
		if n.Articles == nil {
			n.Articles = make([]Article, 0, r.run())
		}
		n.Articles = append(n.Articles, Article{})
		r.merge(n.Articles[len(n.Articles)-1].merge(r.message()))
	}
	return r.failure("News")
}

func (a *Article) size() int {
	return sizeString(1, a.Title) + sizeString(2, a.Description) + sizeString(3, a.PicURL) + sizeString(4, a.URL)
}

func (a *Article) append(b []byte) []byte {
	b = appendHeader(b, 1, a.size())
	b = appendString(b, 1, a.Title)
	b = appendString(b, 2, a.Description)
	b = appendString(b, 3, a.PicURL)
	return appendString(b, 4, a.URL)
}

func (a *Article) merge(s string) error {
	r := reader{s: s}
	for r.next() {
		switch r.num {
		case 1:
			r.text(&a.Title)
		case 2:
			r.text(&a.Description)
		case 3:
			r.text(&a.PicURL)
		case 4:
			r.text(&a.URL)
		}
	}
	return r.failure("Article")
}

func (t *Transfer) merge(s string) error {
	r := reader{s: s}
	for r.next() {
		if r.num == 1 {
			r.text(&t.Account)
		}
	}
	return r.failure("Transfer")
}

func (w *Raw) merge(s string) error {
	r := reader{s: s}
	for r.next() {
		if r.num == 1 {
			r.bytes(&w.Body)
		}
	}
	return r.failure("Raw")
}
