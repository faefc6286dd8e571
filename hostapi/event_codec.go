package hostapi

// Size returns the bytes that Append adds.
func (e *Event) Size() int {
	n := sizeString(1, e.ID) +
		sizeString(2, e.App) +
		sizeString(3, e.AppID) +
		sizeString(4, e.Type) +
		sizeString(5, e.Event) +
		sizeString(6, e.Key) +
		sizeString(7, e.From) +
		sizeString(8, e.To) +
		sizeInt(9, uint64(e.Created)) +
		sizeString(10, e.Content) +
		sizeString(11, e.MsgID) +
		sizeFields(12, e.Fields) +
		sizeFields(13, e.Attrs)
	if e.Reply != nil {
		n += sizeMessage(14, e.Reply.Size())
	}
	return n +
		sizeString(15, e.TraceParent) +
		sizeInt(16, uint64(e.DeadlineMS)) +
		sizeString(17, e.Raw) +
		sizeString(18, e.Origin) +
		sizeString(19, e.User) +
		sizeString(20, e.Scene) +
		sizeInt(21, e.ConfigID) +
		sizeInt(22, uint64(e.Attempt)) +
		sizeString(23, e.Format) +
		sizeString(24, e.AppType)
}

// Append adds the event's wire form to b, Raw included, and returns the longer
// slice. Strings are written as they are: a receiver refuses one that is not
// UTF-8.
func (e *Event) Append(b []byte) []byte {
	b = grow(b, e.Size())
	b = appendString(b, 1, e.ID)
	b = appendString(b, 2, e.App)
	b = appendString(b, 3, e.AppID)
	b = appendString(b, 4, e.Type)
	b = appendString(b, 5, e.Event)
	b = appendString(b, 6, e.Key)
	b = appendString(b, 7, e.From)
	b = appendString(b, 8, e.To)
	b = appendInt(b, 9, uint64(e.Created))
	b = appendString(b, 10, e.Content)
	b = appendString(b, 11, e.MsgID)
	b = appendFields(b, 12, e.Fields)
	b = appendFields(b, 13, e.Attrs)
	if e.Reply != nil {
		b = e.Reply.appendBody(appendHeader(b, 14, e.Reply.Size()))
	}
	b = appendString(b, 15, e.TraceParent)
	b = appendInt(b, 16, uint64(e.DeadlineMS))
	b = appendString(b, 17, e.Raw)
	b = appendString(b, 18, e.Origin)
	b = appendString(b, 19, e.User)
	b = appendString(b, 20, e.Scene)
	b = appendInt(b, 21, e.ConfigID)
	b = appendInt(b, 22, uint64(e.Attempt))
	b = appendString(b, 23, e.Format)
	return appendString(b, 24, e.AppType)
}

// Decode replaces e by the message in b. Unknown fields are skipped, of a field
// that is there twice the last one counts, and a second Reply is merged into
// the first. What it keeps is copied, so b may be used again; all strings share
// one copy, so whoever keeps a single one for long clones it. It allocates at
// most 100 bytes for each byte of b. After an error, which is an ErrDecode,
// e is empty.
func (e *Event) Decode(b []byte) error {
	*e = Event{}
	if err := e.merge(string(b)); err != nil {
		*e = Event{}
		return err
	}
	return nil
}

func (e *Event) merge(s string) error {
	r := reader{s: s}
	for r.next() {
		switch r.num {
		case 1:
			r.text(&e.ID)
		case 2:
			r.text(&e.App)
		case 3:
			r.text(&e.AppID)
		case 4:
			r.text(&e.Type)
		case 5:
			r.text(&e.Event)
		case 6:
			r.text(&e.Key)
		case 7:
			r.text(&e.From)
		case 8:
			r.text(&e.To)
		case 9:
			readInt(&r, &e.Created)
		case 10:
			r.text(&e.Content)
		case 11:
			r.text(&e.MsgID)
		case 12:
			e.Fields = readField(&r, e.Fields)
		case 13:
			e.Attrs = readField(&r, e.Attrs)
		case 14:
			e.Reply = orNew(e.Reply)
			r.merge(e.Reply.merge(r.message()))
		case 15:
			r.text(&e.TraceParent)
		case 16:
			readInt(&r, &e.DeadlineMS)
		case 17:
			r.bytes(&e.Raw)
		case 18:
			r.text(&e.Origin)
		case 19:
			r.text(&e.User)
		case 20:
			r.text(&e.Scene)
		case 21:
			readInt(&r, &e.ConfigID)
		case 22:
			readInt(&r, &e.Attempt)
		case 23:
			r.text(&e.Format)
		case 24:
			r.text(&e.AppType)
		}
	}
	return r.failure("Event")
}

// readField adds the Field just read to fields, with room for those that
// follow.
func readField(r *reader, fields []Field) []Field {
	if fields == nil {
		fields = make([]Field, 0, r.run())
	}
	fields = append(fields, Field{})
	r.merge(fields[len(fields)-1].merge(r.message()))
	return fields
}

func (f *Field) size() int { return sizeString(1, f.Name) + sizeString(2, f.Value) }

func sizeFields(num int, fields []Field) int {
	n := 0
	for i := range fields {
		n += sizeMessage(num, fields[i].size())
	}
	return n
}

func appendFields(b []byte, num int, fields []Field) []byte {
	for i := range fields {
		b = fields[i].append(b, num)
	}
	return b
}

// append adds f as the embedded message num.
func (f *Field) append(b []byte, num int) []byte {
	b = appendHeader(b, num, f.size())
	return appendString(appendString(b, 1, f.Name), 2, f.Value)
}

func (f *Field) merge(s string) error {
	r := reader{s: s}
	for r.next() {
		switch r.num {
		case 1:
			r.text(&f.Name)
		case 2:
			r.text(&f.Value)
		}
	}
	return r.failure("Field")
}
