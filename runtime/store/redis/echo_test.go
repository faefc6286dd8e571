package redis

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/store"
)

// echoServer refuses each command in the words of a server that doesn't know it,
// which repeat what it was sent, and many more.
func echoServer(t *testing.T, known ...string) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer func() { _ = conn.Close() }()
				stop := time.AfterFunc(20*time.Second, func() { _ = conn.Close() })
				defer stop.Stop()
				echo(conn, known)
			})
		}
	})
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	return l.Addr().String()
}

func echo(conn net.Conn, known []string) {
	r := bufio.NewReader(conn)
	for {
		var n int
		if _, err := fmt.Fscanf(r, "*%d\r\n", &n); err != nil {
			return
		}
		args := make([]string, n)
		for i := range args {
			var size int
			if _, err := fmt.Fscanf(r, "$%d\r\n", &size); err != nil {
				return
			}
			arg := make([]byte, size+2)
			if _, err := io.ReadFull(r, arg); err != nil {
				return
			}
			args[i] = string(arg[:size])
		}
		answer := fmt.Sprintf("-ERR unknown command '%s', with args beginning with: '%s' %s\r\n", args[0], strings.Join(args[1:], "' '"), strings.Repeat("x", 1<<20))
		for _, k := range known {
			if strings.EqualFold(args[0], k) {
				answer = "+OK\r\n"
			}
		}
		if _, err := io.WriteString(conn, answer); err != nil {
			return
		}
	}
}

// TestErrorsRepeatNothing: an error holds neither a password nor a message, and
// not all that a server says.
func TestErrorsRepeatNothing(t *testing.T) {
	for name, known := range map[string][]string{
		"nothing is known":          nil,
		"passwords are, no command": {"hello", "auth", "select"},
	} {
		t.Run(name, func(t *testing.T) {
			addr := echoServer(t, known...)
			for _, o := range []Options{
				{Addrs: []string{addr}},
				{Mode: Sentinel, Addrs: []string{addr}, Master: "main", SentinelUsername: "u5er", SentinelPassword: "gu4rd"},
				{Mode: Cluster, Addrs: []string{addr}},
			} {
				o.Username, o.Password, o.Timeout = "u5er", "s3cret", 200*time.Millisecond
				s := openTest(t, o)
				errs := calls(t.Context(), s)
				errs["Publish"] = s.Publish(t.Context(), "t", []byte("m3ssage"))
				_, errs["Append"] = s.Append(t.Context(), "q", 0, store.Entry{Key: "k3y", Value: []byte("v4lue")})
				for call, err := range errs {
					if !errors.Is(err, store.ErrUnavailable) {
						t.Errorf("mode %d, %s: %.300v", o.Mode, call, err)
						continue
					}
					for _, secret := range []string{"s3cret", "gu4rd", "m3ssage", "k3y", "v4lue"} {
						if strings.Contains(err.Error(), secret) {
							t.Errorf("mode %d, %s: %.300v", o.Mode, call, err)
						}
					}
					if len(err.Error()) > 600 {
						t.Errorf("mode %d, %s: %d bytes: %.200v", o.Mode, call, len(err.Error()), err)
					}
				}
			}
		})
	}
}
