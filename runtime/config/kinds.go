package config

import (
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// single reads a scalar. parse says what is wrong without repeating the text;
// an empty error says no more than that it isn't what the shape says.
func single[V any](s shape, secret bool, parse func(text string) (V, error)) kind[V] {
	s.accepts = func(text string) bool { _, err := parse(text); return err == nil }
	return kind[V]{shape: s, read: func(d *decoder, n *node) (v V, ok bool) {
		switch {
		case n.unknown:
			return v, false
		case n.kind != scalar:
			d.add(n.pos, "must be "+s.what+", and is "+n.kind.String(), "")
			return v, false
		case n.isNull():
			d.add(n.pos, "has no value", "it is "+s.what)
			return v, false
		}
		v, err := parse(n.text)
		if err == nil {
			return v, true
		}
		shown := n.shown()
		if secret {
			shown = "the value"
		}
		var bad *badValue
		if errors.As(err, &bad) {
			d.add(n.pos, shown+" is not "+s.what, bad.advice)
		} else {
			d.add(n.pos, shown+" "+err.Error(), "it is "+s.what)
		}
		return v, false
	}}
}

// badValue is the error of a value that isn't what its kind says.
type badValue struct{ advice string }

func (*badValue) Error() string { return "is not what it must be" }

// notThat is the badValue without advice.
func notThat() error { return &badValue{} }

// text reads a string that check accepts.
func text(what string, check func(string) error) kind[string] {
	return single(shape{form: "string", what: what}, false, func(s string) (string, error) {
		return s, check(s)
	})
}

// matching reads a string of a form. A secret is never shown.
func matching(what string, form *regexp.Regexp, secret bool) kind[string] {
	return single(shape{form: "string", what: what, pattern: form.String()}, secret, func(s string) (string, error) {
		if !form.MatchString(s) {
			return "", notThat()
		}
		return s, nil
	})
}

// anyText reads any string of at most max bytes, at least one.
func anyText(max int) kind[string] {
	k := text(fmt.Sprintf("a text of 1 to %d bytes", max), func(s string) error {
		switch {
		case s == "":
			return errors.New("is empty")
		case len(s) > max:
			return fmt.Errorf("has %d bytes", len(s))
		}
		return nil
	})
	k.shape.low, k.shape.high = 1, int64(max)
	return k
}

// oneOf reads one of a few words.
func oneOf[V ~string](words ...V) kind[V] {
	plain := make([]string, len(words))
	for i, w := range words {
		plain[i] = string(w)
	}
	what := strings.Join(plain, ", ")
	if i := strings.LastIndex(what, ", "); i >= 0 {
		what = what[:i] + " or" + what[i+1:]
	}
	return single(shape{form: "string", what: what, words: plain}, false, func(s string) (V, error) {
		if !slices.Contains(plain, s) {
			return "", &badValue{advice: meant(s, plain)}
		}
		return V(s), nil
	})
}

// boolean reads true or false.
func boolean() kind[bool] {
	return single(shape{form: "boolean", what: "true or false"}, false, func(s string) (bool, error) {
		switch strings.ToLower(s) {
		case "true":
			return true, nil
		case "false":
			return false, nil
		case "yes", "on", "y":
			return false, &badValue{advice: "write true"}
		case "no", "off", "n":
			return false, &badValue{advice: "write false"}
		}
		return false, notThat()
	})
}

// integer reads a whole number from low to high.
func integer[V int | int64](low, high V) kind[V] {
	what := fmt.Sprintf("a whole number from %d to %d", low, high)
	if low == high {
		what = fmt.Sprint(low)
	}
	return single(shape{form: "integer", what: what, low: int64(low), high: int64(high)}, false, func(s string) (V, error) {
		v, err := strconv.ParseInt(s, 10, 64)
		if err != nil || v < int64(low) || v > int64(high) {
			return 0, notThat()
		}
		return V(v), nil
	})
}

// duration reads a duration from low to high, and 0 where zero says so.
func duration(low, high time.Duration, zero bool) kind[time.Duration] {
	what := "a duration from " + shortDuration(low) + " to " + shortDuration(high)
	if zero {
		what = "0s or " + what
	}
	return single(shape{form: "duration", what: what, pattern: durationForm}, false, func(s string) (time.Duration, error) {
		v, err := parseDuration(s)
		if err != nil {
			return 0, &badValue{advice: "such as 300ms, 5s, 10m, 1h30m or 2d"}
		}
		if (v < low || v > high) && !(zero && v == 0) {
			return 0, notThat()
		}
		return v, nil
	})
}

// durationForm is what a duration looks like; its range is another matter.
const durationForm = `^[+-]?(0|[0-9]+d(` + durationPart + `)*|(` + durationPart + `)+)$`

const durationPart = `([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)`

// parseDuration reads Go's syntax, and days before everything else: 1d12h.
func parseDuration(s string) (time.Duration, error) {
	days, rest, ok := strings.Cut(s, "d")
	if !ok {
		return time.ParseDuration(s)
	}
	n, err := strconv.ParseUint(days, 10, 64)
	const most = uint64(1<<63-1) / uint64(24*time.Hour)
	if err != nil || n >= most {
		return 0, errors.New("not a number of days")
	}
	sum := time.Duration(n) * 24 * time.Hour
	if rest == "" {
		return sum, nil
	}
	v, err := time.ParseDuration(rest)
	if err != nil || strings.ContainsAny(rest[:1], "+-") || sum+v < sum {
		return 0, errors.New("not a duration after the days")
	}
	return sum + v, nil
}

// shortDuration writes a duration without the zeros of Duration.String.
func shortDuration(v time.Duration) string {
	s := v.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(s, zero) {
			s = s[:len(s)-2]
		}
	}
	return s
}

// size reads a number of bytes from low to high.
func size(low, high int64) kind[int64] {
	what := "a size from " + shortSize(low) + " to " + shortSize(high)
	return single(shape{form: "size", what: what, pattern: sizeForm, low: low, high: high}, false, func(s string) (int64, error) {
		v, ok := parseSize(s)
		if !ok {
			return 0, &badValue{advice: "such as 65536, 512KiB or 16MiB"}
		}
		if v < low || v > high {
			return 0, notThat()
		}
		return v, nil
	})
}

// sizeForm is what a size looks like.
const sizeForm = `^[0-9]+(B|KiB|MiB|GiB|TiB)?$`

// sizeUnits are the units of sizes, the largest first.
func sizeUnits() []string { return []string{"TiB", "GiB", "MiB", "KiB", "B"} }

// parseSize reads digits and one of the units, or digits alone.
func parseSize(s string) (int64, bool) {
	shift := 40
	for _, unit := range sizeUnits() {
		if digits, ok := strings.CutSuffix(s, unit); ok {
			s = digits
			break
		}
		shift -= 10
	}
	v, err := strconv.ParseUint(s, 10, 63)
	shift = max(shift, 0)
	if err != nil || v > (1<<62)>>shift {
		return 0, false
	}
	return int64(v) << shift, true
}

func shortSize(v int64) string {
	shift := 40
	for _, unit := range sizeUnits() {
		if v>>shift > 0 && v>>shift<<shift == v {
			return strconv.FormatInt(v>>shift, 10) + unit
		}
		shift -= 10
	}
	return strconv.FormatInt(v, 10)
}

// moment reads an RFC 3339 time.
func moment() kind[time.Time] {
	const form = `^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{1,2}:[0-9]{2}:[0-9]{2}([.,][0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})$`
	return single(shape{form: "string", what: "a time such as 2026-12-01T00:00:00Z (RFC 3339)", pattern: form}, false,
		func(s string) (time.Time, error) {
			t, err := time.Parse(time.RFC3339, s)
			if err != nil {
				return t, notThat()
			}
			return t.UTC(), nil
		})
}

// hostPort reads HOST:PORT; HOST may be empty, PORT is a number.
func hostPort() kind[string] {
	k := text("HOST:PORT, such as 127.0.0.1:8080", func(s string) error {
		host, port, err := net.SplitHostPort(s)
		if err != nil || strings.ContainsAny(host, " /@") {
			return notThat()
		}
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			return notThat()
		}
		return nil
	})
	k.shape.pattern = `^[^ /@]*:[0-9]+$`
	return k
}

// isLoopback tells whether a listener at hostport is reached from this machine
// only.
func isLoopback(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		return false
	}
	return loopbackHost(host)
}

// loopbackHost tells whether a host is this machine.
func loopbackHost(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// sameAddress tells whether two listeners can't both have their HOST:PORT: the
// ports are one, and the hosts are, or one of them stands for all.
func sameAddress(a, b string) bool {
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	portA, portB = strings.TrimLeft(portA, "0"), strings.TrimLeft(portB, "0")
	if errA != nil || errB != nil || portA != portB || portA == "" {
		return false
	}
	all := func(host string) bool {
		ip := net.ParseIP(host)
		return host == "" || ip != nil && ip.IsUnspecified()
	}
	return strings.EqualFold(hostA, hostB) || all(hostA) || all(hostB)
}

// listOf reads a list.
func listOf[V any](what string, elem kind[V]) kind[[]V] {
	return kind[[]V]{shape: shape{form: "list", what: what, elem: &elem.shape}, read: func(d *decoder, n *node) ([]V, bool) {
		switch {
		case n.unknown || n.isNull():
			return nil, false
		case n.kind != list:
			d.add(n.pos, "must be "+what+", and is "+n.kind.String(), "")
			return nil, false
		}
		var out []V
		for i, item := range n.items {
			d.push(strconv.Itoa(i))
			if v, ok := elem.read(d, item); ok {
				out = append(out, v)
			}
			d.pop()
		}
		return out, true
	}}
}

// atMost bounds a list, or a mapping. things is what they are called in the plural.
func atMost[V any](n int, things string, k kind[V]) kind[V] {
	k.shape.high = int64(n)
	plain := k.read
	k.read = func(d *decoder, v *node) (none V, ok bool) {
		if size := len(v.items) + len(v.entries); size > n {
			d.add(v.from, fmt.Sprintf("has %d %s, over %d", size, things, n), "")
			return none, false
		}
		return plain(d, v)
	}
	return k
}

// mapOf reads a mapping with keys of the file's choice.
func mapOf[V any](what string, elem kind[V]) kind[map[string]V] {
	return kind[map[string]V]{shape: shape{form: "map", what: what, elem: &elem.shape}, read: func(d *decoder, n *node) (map[string]V, bool) {
		switch {
		case n.unknown || n.isNull():
			return nil, false
		case n.kind != mapping:
			d.add(n.pos, "must be "+what+", and is "+n.kind.String(), "")
			return nil, false
		}
		out := make(map[string]V, len(n.entries))
		for _, e := range n.entries {
			d.push(e.key)
			if v, ok := elem.read(d, e.value); ok {
				out[e.key] = v
			}
			d.pop()
		}
		return out, true
	}}
}

// nested reads a mapping with fixed keys.
func nested[T any](what string, sec func() section[T]) kind[*T] {
	return kind[*T]{
		shape: shape{form: "section", what: what, section: func() described { return sec() }},
		read: func(d *decoder, n *node) (*T, bool) {
			v := new(T)
			ok := sec().decode(d, n, v)
			return v, ok
		},
	}
}

// nameWhat is nameForm in words.
const nameWhat = "a name: a small letter, then small letters, digits and -, at most 63"

func name() kind[string] { return matching(nameWhat, nameForm, false) }

// named reads a mapping from names to sections, in the order of the file. start
// makes what an entry is decoded into.
func named[T any](what string, sec func() section[T], start func(e entry) *T) kind[[]*T] {
	elem := shape{form: "section", what: what, section: func() described { return sec() }}
	return kind[[]*T]{shape: shape{form: "map", what: what, keys: nameForm.String(), elem: &elem}, read: func(d *decoder, n *node) ([]*T, bool) {
		switch {
		case n.unknown || n.isNull():
			return nil, false
		case n.kind != mapping:
			d.add(n.pos, "must be "+what+", and is "+n.kind.String(), "")
			return nil, false
		}
		var out []*T
		for _, e := range n.entries {
			if !nameForm.MatchString(e.key) {
				d.add(e.pos, show(e.key)+" is not "+nameWhat, "")
			}
			v := start(e)
			d.push(e.key)
			sec().decode(d, e.value, v)
			d.pop()
			out = append(out, v)
		}
		return out, true
	}}
}
