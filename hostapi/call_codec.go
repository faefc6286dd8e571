package hostapi

// Size returns the bytes that Append adds.
func (r *APIRequest) Size() int {
	return sizeString(1, r.Method) +
		sizeString(2, r.Path) +
		sizeFields(3, r.Query) +
		sizeString(4, r.Body) +
		sizeString(5, r.IdempotencyKey)
}

// Append adds the request's wire form to b and returns the longer slice.
// Strings are written as they are: a receiver refuses one that is not UTF-8.
func (r *APIRequest) Append(b []byte) []byte {
	b = grow(b, r.Size())
	b = appendString(b, 1, r.Method)
	b = appendString(b, 2, r.Path)
	b = appendFields(b, 3, r.Query)
	b = appendString(b, 4, r.Body)
	return appendString(b, 5, r.IdempotencyKey)
}

// Decode replaces r by the message in b. Unknown fields are skipped; of a field
// that is there twice the last one counts. What it keeps is copied, so b may be
// used again. It allocates at most
// 100 bytes for each byte of b. After an error, which is an
// ErrDecode, r is empty.
func (r *APIRequest) Decode(b []byte) error {
	*r = APIRequest{}
	if err := r.merge(string(b)); err != nil {
		*r = APIRequest{}
		return err
	}
	return nil
}

func (r *APIRequest) merge(s string) error {
	w := reader{s: s}
	for w.next() {
		switch w.num {
		case 1:
			w.text(&r.Method)
		case 2:
			w.text(&r.Path)
		case 3:
			r.Query = readField(&w, r.Query)
		case 4:
			w.bytes(&r.Body)
		case 5:
			w.text(&r.IdempotencyKey)
		}
	}
	return w.failure("ApiRequest")
}

// Size returns the bytes that Append adds.
func (r *APIResponse) Size() int {
	return sizeInt(1, uint64(r.Status)) +
		sizeString(2, r.Body) +
		sizeInt(3, uint64(r.Errcode)) +
		sizeString(4, r.Class) +
		sizeString(5, r.Rid) +
		sizeString(6, r.ContentType) +
		sizeString(7, r.Error) +
		sizeBool(8, r.MaybeExecuted)
}

// Append adds the response's wire form to b and returns the longer slice.
// Strings are written as they are: a receiver refuses one that is not UTF-8.
func (r *APIResponse) Append(b []byte) []byte {
	b = grow(b, r.Size())
	b = appendInt(b, 1, uint64(r.Status))
	b = appendString(b, 2, r.Body)
	b = appendInt(b, 3, uint64(r.Errcode))
	b = appendString(b, 4, r.Class)
	b = appendString(b, 5, r.Rid)
	b = appendString(b, 6, r.ContentType)
	b = appendString(b, 7, r.Error)
	return appendBool(b, 8, r.MaybeExecuted)
}

// Decode replaces r by the message in b. Unknown fields are skipped; of a field
// that is there twice the last one counts. What it keeps is copied, so b may be
// used again. It allocates at most len(b) twice. After an error, which is an
// ErrDecode, r is empty.
func (r *APIResponse) Decode(b []byte) error {
	*r = APIResponse{}
	if err := r.merge(string(b)); err != nil {
		*r = APIResponse{}
		return err
	}
	return nil
}

func (r *APIResponse) merge(s string) error {
	w := reader{s: s}
	for w.next() {
		switch w.num {
		case 1:
			readInt(&w, &r.Status)
		case 2:
			w.bytes(&r.Body)
		case 3:
			readInt(&w, &r.Errcode)
		case 4:
			w.text(&r.Class)
		case 5:
			w.text(&r.Rid)
		case 6:
			w.text(&r.ContentType)
		case 7:
			w.text(&r.Error)
		case 8:
			w.bool(&r.MaybeExecuted)
		}
	}
	return w.failure("ApiResponse")
}

// Size returns the bytes that Append adds.
func (r *FetchRequest) Size() int {
	return sizeString(1, r.Upstream) +
		sizeString(2, r.Method) +
		sizeString(3, r.Path) +
		sizeFields(4, r.Query) +
		sizeFields(5, r.Headers) +
		sizeString(6, r.Body) +
		sizeString(7, r.IdempotencyKey)
}

// Append adds the request's wire form to b and returns the longer slice.
// Strings are written as they are: a receiver refuses one that is not UTF-8.
func (r *FetchRequest) Append(b []byte) []byte {
	b = grow(b, r.Size())
	b = appendString(b, 1, r.Upstream)
	b = appendString(b, 2, r.Method)
	b = appendString(b, 3, r.Path)
	b = appendFields(b, 4, r.Query)
	b = appendFields(b, 5, r.Headers)
	b = appendString(b, 6, r.Body)
	return appendString(b, 7, r.IdempotencyKey)
}

// Decode replaces r by the message in b. Unknown fields are skipped; of a field
// that is there twice the last one counts. What it keeps is copied, so b may be
// used again. It allocates at most
// 100 bytes for each byte of b. After an error, which is an
// ErrDecode, r is empty.
func (r *FetchRequest) Decode(b []byte) error {
	*r = FetchRequest{}
	if err := r.merge(string(b)); err != nil {
		*r = FetchRequest{}
		return err
	}
	return nil
}

func (r *FetchRequest) merge(s string) error {
	w := reader{s: s}
	for w.next() {
		switch w.num {
		case 1:
			w.text(&r.Upstream)
		case 2:
			w.text(&r.Method)
		case 3:
			w.text(&r.Path)
		case 4:
			r.Query = readField(&w, r.Query)
		case 5:
			r.Headers = readField(&w, r.Headers)
		case 6:
			w.bytes(&r.Body)
		case 7:
			w.text(&r.IdempotencyKey)
		}
	}
	return w.failure("FetchRequest")
}

// Size returns the bytes that Append adds.
func (r *FetchResponse) Size() int {
	return sizeInt(1, uint64(r.Status)) +
		sizeFields(2, r.Headers) +
		sizeString(3, r.Body) +
		sizeString(4, r.Error) +
		sizeBool(5, r.MaybeExecuted)
}

// Append adds the response's wire form to b and returns the longer slice.
// Strings are written as they are: a receiver refuses one that is not UTF-8.
func (r *FetchResponse) Append(b []byte) []byte {
	b = grow(b, r.Size())
	b = appendInt(b, 1, uint64(r.Status))
	b = appendFields(b, 2, r.Headers)
	b = appendString(b, 3, r.Body)
	b = appendString(b, 4, r.Error)
	return appendBool(b, 5, r.MaybeExecuted)
}

// Decode replaces r by the message in b. Unknown fields are skipped; of a field
// that is there twice the last one counts. What it keeps is copied, so b may be
// used again. It allocates at most
// 100 bytes for each byte of b. After an error, which is an
// ErrDecode, r is empty.
func (r *FetchResponse) Decode(b []byte) error {
	*r = FetchResponse{}
	if err := r.merge(string(b)); err != nil {
		*r = FetchResponse{}
		return err
	}
	return nil
}

func (r *FetchResponse) merge(s string) error {
	w := reader{s: s}
	for w.next() {
		switch w.num {
		case 1:
			readInt(&w, &r.Status)
		case 2:
			r.Headers = readField(&w, r.Headers)
		case 3:
			w.bytes(&r.Body)
		case 4:
			w.text(&r.Error)
		case 5:
			w.bool(&r.MaybeExecuted)
		}
	}
	return w.failure("FetchResponse")
}
