package hostapi_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/weft-dev/weft/hostapi"
)

// codec is what each message of the host API offers.
type codec interface {
	Size() int
	Append(b []byte) []byte
	Decode(b []byte) error
}

// messages are those with a codec, by their names in weft.proto.
func messages() map[string]codec {
	return map[string]codec{
		"Event":         new(hostapi.Event),
		"Reply":         new(hostapi.Reply),
		"StateRequest":  new(hostapi.StateRequest),
		"StateResponse": new(hostapi.StateResponse),
		"ApiRequest":    new(hostapi.APIRequest),
		"ApiResponse":   new(hostapi.APIResponse),
		"FetchRequest":  new(hostapi.FetchRequest),
		"FetchResponse": new(hostapi.FetchResponse),
	}
}

// oracle reads weft.proto.
func oracle(t testing.TB) protoreflect.FileDescriptor {
	t.Helper()
	c := protocompile.Compiler{Resolver: &protocompile.SourceResolver{}}
	files, err := c.Compile(t.Context(), "weft.proto")
	if err != nil {
		t.Fatal(err)
	}
	return files[0]
}

// fresh returns a new message of m's type.
func fresh(m codec) codec { return reflect.New(reflect.TypeOf(m).Elem()).Interface().(codec) }

// toProto copies the struct v into m. Field i of a struct is number i+1 in
// weft.proto, which TestNumbers holds them to.
func toProto(v reflect.Value, m protoreflect.Message) {
	for i := range v.NumField() {
		f, fd := v.Field(i), m.Descriptor().Fields().ByNumber(protoreflect.FieldNumber(i+1))
		switch {
		case fd.IsList():
			for j := range f.Len() {
				toProto(f.Index(j), m.Mutable(fd).List().AppendMutable().Message())
			}
		case f.Kind() == reflect.Pointer:
			if !f.IsNil() {
				toProto(f.Elem(), m.Mutable(fd).Message())
			}
		case fd.Kind() == protoreflect.EnumKind:
			m.Set(fd, protoreflect.ValueOfEnum(protoreflect.EnumNumber(f.Int())))
		case fd.Kind() == protoreflect.BytesKind:
			m.Set(fd, protoreflect.ValueOfBytes(f.Bytes()))
		default:
			m.Set(fd, protoreflect.ValueOf(f.Interface()))
		}
	}
}

// fromProto copies m into the struct v.
func fromProto(m protoreflect.Message, v reflect.Value) {
	for i := range v.NumField() {
		f, fd := v.Field(i), m.Descriptor().Fields().ByNumber(protoreflect.FieldNumber(i+1))
		if !m.Has(fd) {
			continue
		}
		switch {
		case fd.IsList():
			l := m.Get(fd).List()
			f.Set(reflect.MakeSlice(f.Type(), l.Len(), l.Len()))
			for j := range l.Len() {
				fromProto(l.Get(j).Message(), f.Index(j))
			}
		case f.Kind() == reflect.Pointer:
			f.Set(reflect.New(f.Type().Elem()))
			fromProto(m.Get(fd).Message(), f.Elem())
		case fd.Kind() == protoreflect.EnumKind:
			f.SetInt(int64(m.Get(fd).Enum()))
		default:
			f.Set(reflect.ValueOf(m.Get(fd).Interface()))
		}
	}
}

// stricter reports what the codec refuses and protobuf-go takes: a field with a
// known number and another wire type, and a group. protobuf-go keeps both as
// unknown fields; a plugin that sends one was made from another contract, and
// is better told so.
func stricter(b []byte, md protoreflect.MessageDescriptor) bool {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		size := protowire.ConsumeFieldValue(num, typ, b[max(n, 0):])
		if n < 0 || size < 0 {
			return false
		}
		value := b[n : n+size]
		b = b[n+size:]
		if typ == protowire.StartGroupType {
			return true
		}
		if fd := md.Fields().ByNumber(num); fd != nil {
			if typ != wireType(fd) {
				return true
			}
			if fd.Message() != nil {
				if inner, _ := protowire.ConsumeBytes(value); stricter(inner, fd.Message()) {
					return true
				}
			}
		}
	}
	return false
}

func wireType(fd protoreflect.FieldDescriptor) protowire.Type {
	switch fd.Kind() {
	case protoreflect.StringKind, protoreflect.BytesKind, protoreflect.MessageKind:
		return protowire.BytesType
	default:
		return protowire.VarintType
	}
}

// agree holds m's codec against protobuf-go for the bytes b: both take or both
// refuse them, with the same values, and what is encoded again is the same
// message.
func agree(t *testing.T, m codec, md protoreflect.MessageDescriptor, b []byte) {
	t.Helper()
	ours, want := fresh(m), dynamicpb.NewMessage(md)
	err, wantErr := ours.Decode(b), proto.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(b, want)
	if stricter(b, md) && err == nil {
		t.Fatalf("%x: took a wrong wire type or a group", b)
	}
	if err != nil {
		if !errors.Is(err, hostapi.ErrDecode) || !reflect.ValueOf(ours).Elem().IsZero() {
			t.Fatalf("%x: error %v leaves %+v", b, err, ours)
		}
		if wantErr == nil && !stricter(b, md) {
			t.Fatalf("%x: refused with %v, but protobuf takes it", b, err)
		}
		return
	}
	if wantErr != nil {
		t.Fatalf("%x: took what protobuf refuses with %v", b, wantErr)
	}
	values := fresh(m)
	fromProto(want, reflect.ValueOf(values).Elem())
	if !reflect.DeepEqual(ours, values) {
		t.Fatalf("%x:\ngot  %+v\nwant %+v", b, ours, values)
	}
	again := ours.Append([]byte("x"))[1:]
	if len(again) != ours.Size() {
		t.Fatalf("%x: Size %d, Append %d bytes", b, ours.Size(), len(again))
	}
	got := dynamicpb.NewMessage(md)
	if err := proto.Unmarshal(again, got); err != nil {
		t.Fatalf("%x: encoded again: %v", b, err)
	}
	if !proto.Equal(got, want) {
		t.Fatalf("%x: encoded again: got %v, want %v", b, got, want)
	}
}

// random fills the struct v; of a Reply it sets at most one body.
func random(r *rand.Rand, v reflect.Value) {
	if v.Type() == reflect.TypeFor[hostapi.Reply]() {
		if i := r.IntN(v.NumField() + 1); i < v.NumField() {
			v.Field(i).Set(reflect.New(v.Field(i).Type().Elem()))
			random(r, v.Field(i).Elem())
		}
		return
	}
	for i := range v.NumField() {
		if f := v.Field(i); r.IntN(3) > 0 {
			randomField(r, f)
		}
	}
}

func randomField(r *rand.Rand, f reflect.Value) {
	switch f.Kind() {
	case reflect.String:
		f.SetString(strings.Repeat("字x\x00"[:r.IntN(2)*3], r.IntN(100)) + "é")
	case reflect.Int64, reflect.Int32:
		f.SetInt(int64(r.Uint64() >> r.IntN(64)))
		if f.Kind() == reflect.Int32 {
			f.SetInt(int64(int32(r.Uint32())))
		}
	case reflect.Uint64, reflect.Uint32:
		f.SetUint(r.Uint64() >> (32 + r.IntN(32)))
		if f.Kind() == reflect.Uint64 {
			f.SetUint(r.Uint64() >> r.IntN(64))
		}
	case reflect.Bool:
		f.SetBool(true)
	case reflect.Pointer:
		f.Set(reflect.New(f.Type().Elem()))
		random(r, f.Elem())
	case reflect.Slice:
		n := 1 + r.IntN(4)
		f.Set(reflect.MakeSlice(f.Type(), n, n))
		for i := range n {
			if e := f.Index(i); e.Kind() == reflect.Struct {
				random(r, e)
			} else {
				e.SetUint(uint64(r.Uint32() & 0xff))
			}
		}
	}
}

func TestAgainstProtobuf(t *testing.T) {
	file := oracle(t)
	for name, m := range messages() {
		t.Run(name, func(t *testing.T) {
			md := file.Messages().ByName(protoreflect.Name(name))
			r := rand.New(rand.NewPCG(1, 2))
			for range 2000 {
				v := fresh(m)
				random(r, reflect.ValueOf(v).Elem())
				roundTrip(t, v, md)
			}
		})
	}
}

// roundTrip sends v both ways between the codec and protobuf-go.
func roundTrip(t *testing.T, v codec, md protoreflect.MessageDescriptor) {
	t.Helper()
	want := dynamicpb.NewMessage(md)
	toProto(reflect.ValueOf(v).Elem(), want)

	ours := v.Append(nil)
	got := dynamicpb.NewMessage(md)
	if err := proto.Unmarshal(ours, got); err != nil || !proto.Equal(got, want) {
		t.Fatalf("protobuf reads %+v as %v, error %v", v, got, err)
	}
	theirs, err := proto.MarshalOptions{Deterministic: true}.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	back := fresh(v)
	if err := back.Decode(theirs); err != nil || !reflect.DeepEqual(back, v) {
		t.Fatalf("protobuf's %x is read as %+v, error %v; want %+v", theirs, back, err, v)
	}
	if len(ours) != len(theirs) || len(ours) != v.Size() {
		t.Fatalf("%d bytes, Size %d, protobuf %d", len(ours), v.Size(), len(theirs))
	}
}

// TestNumbers holds the structs to weft.proto: field i is number i+1, with the
// same name but for letter case and underscores, and nothing is left over.
func TestNumbers(t *testing.T) {
	file := oracle(t)
	types := []any{
		hostapi.Event{},
		hostapi.Field{},
		hostapi.Reply{},
		hostapi.Text{},
		hostapi.Media{},
		hostapi.Video{},
		hostapi.Music{},
		hostapi.News{},
		hostapi.Article{},
		hostapi.Transfer{},
		hostapi.Raw{},
		hostapi.StateRequest{},
		hostapi.StateResponse{},
		hostapi.APIRequest{},
		hostapi.APIResponse{},
		hostapi.FetchRequest{},
		hostapi.FetchResponse{},
	}
	if n := file.Messages().Len(); n != len(types) {
		t.Errorf("weft.proto has %d messages, this test %d", n, len(types))
	}
	for _, v := range types {
		typ := reflect.TypeOf(v)
		md := file.Messages().ByName(protoreflect.Name(strings.Replace(typ.Name(), "API", "Api", 1)))
		if md == nil || md.Fields().Len() != typ.NumField() {
			t.Errorf("%s: not the same fields in weft.proto", typ.Name())
			continue
		}
		for i := range typ.NumField() {
			fd := md.Fields().ByNumber(protoreflect.FieldNumber(i + 1))
			name := ""
			if fd != nil {
				name = strings.ReplaceAll(string(fd.Name()), "_", "")
			}
			if !strings.EqualFold(name, typ.Field(i).Name) {
				t.Errorf("%s.%s: number %d of weft.proto is %q", typ.Name(), typ.Field(i).Name, i+1, name)
			}
		}
	}
}

// TestEnums holds the constants to weft.proto.
func TestEnums(t *testing.T) {
	file := oracle(t)
	want := map[protoreflect.FullName]int{
		"weft.v1.STATE_OP_GET":             int(hostapi.StateGet),
		"weft.v1.STATE_OP_SET":             int(hostapi.StateSet),
		"weft.v1.STATE_OP_DELETE":          int(hostapi.StateDelete),
		"weft.v1.STATE_OP_ADD":             int(hostapi.StateAdd),
		"weft.v1.STATE_OP_COMPARE_AND_SET": int(hostapi.StateCompareAndSet),
		"weft.v1.STATE_OP_UNSPECIFIED":     0,
		"weft.v1.STATE_SCOPE_APP":          int(hostapi.ScopeApp),
		"weft.v1.STATE_SCOPE_USER":         int(hostapi.ScopeUser),
	}
	for i := range file.Enums().Len() {
		values := file.Enums().Get(i).Values()
		for j := range values.Len() {
			v := values.Get(j)
			if n, ok := want[v.FullName()]; !ok || n != int(v.Number()) {
				t.Errorf("%s = %d, want %d", v.FullName(), v.Number(), n)
			}
		}
	}
}

// TestExtremes sends the ends of each number's range both ways.
func TestExtremes(t *testing.T) {
	file := oracle(t)
	event, request := file.Messages().ByName("Event"), file.Messages().ByName("StateRequest")
	answer := file.Messages().ByName("ApiResponse")
	for _, n := range []int64{math.MinInt64, -1, 1, 127, 128, 1<<32 - 1, 1 << 32, math.MaxInt64} {
		roundTrip(t, &hostapi.Event{Created: n, DeadlineMS: n, ConfigID: uint64(n), Attempt: uint32(n)}, event)
		roundTrip(t, &hostapi.StateRequest{Op: hostapi.StateOp(n), Scope: hostapi.StateScope(n), Delta: n, TTLMS: n}, request)
		roundTrip(t, &hostapi.APIResponse{Status: int32(n), Errcode: int32(n)}, answer)
	}
}
