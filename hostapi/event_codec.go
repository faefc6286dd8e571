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
		sizeString(11, e.MsgID)
	for i := range e.Fields {
		n += sizeMessage(12, e.Fields[i].size())
	}
	for i := range e.Attrs {
		n += sizeMessage(13, e.Attrs[i].size())
	}
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
	for i := range e.Fields {
		b = e.Fields[i].append(b, 12)
	}
	for i := range e.Attrs {
		b = e.Attrs[i].append(b, 13)
	}
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

// Decode replaces e by the message in b. What it keeps is copied, so b may be
// used again; all strings share one copy, so whoever keeps a single one for
// long clones it. It allocates at most len(b) twice and 16 bytes for each byte
// of a field or annotation. After an error, which is an ErrDecode, e is empty.
func (e *Event) Decode(b []byte) error {
	s := string(b)
	*e = Event{}
	fields, attrs := count(s, 12, 13)
	if fields > 0 {
		e.Fields = make([]Field, 0, fields)
	}
	if attrs > 0 {
		e.Attrs = make([]Field, 0, attrs)
	}
	if err := decode("Event", s, e); err != nil {
		*e = Event{}
		return err
	}
	return nil
}

func (e *Event) set(f field) error {
	if s := e.text(f.num); s != nil {
		return f.toString(s)
	}
	switch f.num {
	case 9:
		return toInt(f, &e.Created)
	case 12:
		e.Fields = append(e.Fields, Field{})
		return f.toMessage("Field", &e.Fields[len(e.Fields)-1])
	case 13:
		e.Attrs = append(e.Attrs, Field{})
		return f.toMessage("Field", &e.Attrs[len(e.Attrs)-1])
	case 14:
		if e.Reply == nil {
			e.Reply = new(Reply)
		}
		return f.toMessage("Reply", e.Reply)
	case 16:
		return toInt(f, &e.DeadlineMS)
	case 17:
		return f.toBytes(&e.Raw)
	case 21:
		return toInt(f, &e.ConfigID)
	case 22:
		return toInt(f, &e.Attempt)
	}
	return nil
}

// text returns the string with the number num, or nil.
func (e *Event) text(num int) *string {
	switch num {
	case 1:
		return &e.ID
	case 2:
		return &e.App
	case 3:
		return &e.AppID
	case 4:
		return &e.Type
	case 5:
		return &e.Event
	case 6:
		return &e.Key
	case 7:
		return &e.From
	case 8:
		return &e.To
	case 10:
		return &e.Content
	case 11:
		return &e.MsgID
	case 15:
		return &e.TraceParent
	case 18:
		return &e.Origin
	case 19:
		return &e.User
	case 20:
		return &e.Scene
	case 23:
		return &e.Format
	case 24:
		return &e.AppType
	}
	return nil
}

func (f *Field) size() int { return sizeString(1, f.Name) + sizeString(2, f.Value) }

// append adds f as the embedded message num.
func (f *Field) append(b []byte, num int) []byte {
	b = appendHeader(b, num, f.size())
	return appendString(appendString(b, 1, f.Name), 2, f.Value)
}

func (f *Field) set(w field) error {
	switch w.num {
	case 1:
		return w.toString(&f.Name)
	case 2:
		return w.toString(&f.Value)
	}
	return nil
}
