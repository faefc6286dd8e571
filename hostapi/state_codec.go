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

// Decode replaces r by the message in b. What it keeps is copied, so b may be
// used again. An operation or scope that is not known here is kept as its
// number. It allocates at most len(b) three times. After an error, which is an
// ErrDecode, r is empty.
func (r *StateRequest) Decode(b []byte) error {
	*r = StateRequest{}
	if err := decode("StateRequest", string(b), r); err != nil {
		*r = StateRequest{}
		return err
	}
	return nil
}

func (r *StateRequest) set(f field) error {
	switch f.num {
	case 1:
		return toInt(f, &r.Op)
	case 2:
		return toInt(f, &r.Scope)
	case 3:
		return f.toString(&r.Key)
	case 4:
		return f.toBytes(&r.Value)
	case 5:
		return toInt(f, &r.TTLMS)
	case 6:
		return toInt(f, &r.Delta)
	case 7:
		return f.toBytes(&r.Expect)
	case 8:
		return f.toBool(&r.ExpectAbsent)
	case 9:
		return f.toString(&r.Once)
	}
	return nil
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

// Decode replaces r by the message in b. What it keeps is copied, so b may be
// used again. It allocates at most len(b) twice. After an error, which is an
// ErrDecode, r is empty.
func (r *StateResponse) Decode(b []byte) error {
	*r = StateResponse{}
	if err := decode("StateResponse", string(b), r); err != nil {
		*r = StateResponse{}
		return err
	}
	return nil
}

func (r *StateResponse) set(f field) error {
	switch f.num {
	case 1:
		return f.toBytes(&r.Value)
	case 2:
		return toInt(f, &r.Number)
	case 3:
		return f.toBool(&r.Found)
	case 4:
		return f.toString(&r.Error)
	}
	return nil
}
