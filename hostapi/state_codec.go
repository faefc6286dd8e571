package hostapi

// Size returns the bytes that Append adds.
func (r *StateRequest) Size() int {
	return sizeInt(1, uint64(r.Op)) +
		sizeInt(2, uint64(r.Scope)) +
		sizeString(3, r.Key) +
		sizeString(4, r.Value) +
		sizeInt(5, uint64(r.TTLMS)) +
		sizeInt(6, uint64(r.Delta)) +
		sizeString(7, r.Expect) +
		sizeBool(8, r.ExpectAbsent) +
		sizeString(9, r.Once)
}

// Append adds the request's wire form to b and returns the longer slice.
// Strings are written as they are: a receiver refuses one that is not UTF-8.
func (r *StateRequest) Append(b []byte) []byte {
	b = grow(b, r.Size())
	b = appendInt(b, 1, uint64(r.Op))
	b = appendInt(b, 2, uint64(r.Scope))
	b = appendString(b, 3, r.Key)
	b = appendString(b, 4, r.Value)
	b = appendInt(b, 5, uint64(r.TTLMS))
	b = appendInt(b, 6, uint64(r.Delta))
	b = appendString(b, 7, r.Expect)
	b = appendBool(b, 8, r.ExpectAbsent)
	return appendString(b, 9, r.Once)
}

// Decode replaces r by the message in b. Unknown fields are skipped; of a field
// that is there twice the last one counts. An operation or scope that is not
// known here is kept as its number. What it keeps is copied, so b may be used
// again. It allocates at most len(b) twice. After an error, which is an
// ErrDecode, r is empty.
func (r *StateRequest) Decode(b []byte) error {
	*r = StateRequest{}
	if err := r.merge(string(b)); err != nil {
		*r = StateRequest{}
		return err
	}
	return nil
}

func (r *StateRequest) merge(s string) error {
	w := reader{s: s}
	for w.next() {
		switch w.num {
		case 1:
			readInt(&w, &r.Op)
		case 2:
			readInt(&w, &r.Scope)
		case 3:
			w.text(&r.Key)
		case 4:
			w.bytes(&r.Value)
		case 5:
			readInt(&w, &r.TTLMS)
		case 6:
			readInt(&w, &r.Delta)
		case 7:
			w.bytes(&r.Expect)
		case 8:
			w.bool(&r.ExpectAbsent)
		case 9:
			w.text(&r.Once)
		}
	}
	return w.failure("StateRequest")
}

// Size returns the bytes that Append adds.
func (r *StateResponse) Size() int {
	return sizeString(1, r.Value) +
		sizeInt(2, uint64(r.Number)) +
		sizeBool(3, r.Found) +
		sizeString(4, r.Error)
}

// Append adds the response's wire form to b and returns the longer slice.
// Strings are written as they are: a receiver refuses one that is not UTF-8.
func (r *StateResponse) Append(b []byte) []byte {
	b = grow(b, r.Size())
	b = appendString(b, 1, r.Value)
	b = appendInt(b, 2, uint64(r.Number))
	b = appendBool(b, 3, r.Found)
	return appendString(b, 4, r.Error)
}

// Decode replaces r by the message in b. Unknown fields are skipped; of a field
// that is there twice the last one counts. What it keeps is copied, so b may be
// used again. It allocates at most len(b) twice. After an error, which is an
// ErrDecode, r is empty.
func (r *StateResponse) Decode(b []byte) error {
	*r = StateResponse{}
	if err := r.merge(string(b)); err != nil {
		*r = StateResponse{}
		return err
	}
	return nil
}

func (r *StateResponse) merge(s string) error {
	w := reader{s: s}
	for w.next() {
		switch w.num {
		case 1:
			w.bytes(&r.Value)
		case 2:
			readInt(&w, &r.Number)
		case 3:
			w.bool(&r.Found)
		case 4:
			w.text(&r.Error)
		}
	}
	return w.failure("StateResponse")
}
