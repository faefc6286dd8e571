// Package redistest starts real Redis servers for tests, on loopback and in
// folders of their own: one, a primary with replicas and Sentinels, a Cluster.
// All of them are killed at the end of the test.
package redistest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
)

// patience is how long a server may take for what is waited for.
const patience = 30 * time.Second

// Node is a redis-server process. Its methods are for one goroutine, and fail the
// test where they fail.
type Node struct {
	Addr    string
	TLSAddr string // the same with TLS; empty without the option --tls-cert-file

	t      testing.TB
	args   []string
	log    string
	cmd    *exec.Cmd
	exited chan struct{}
}

// Start starts a redis-server that syncs each write, with further options as on its
// command line, and waits until it answers.
func Start(t testing.TB, options ...string) *Node {
	t.Helper()
	n := newNode(t, options...)
	n.Restart()
	return n
}

// newNode is a node that doesn't run yet.
func newNode(t testing.TB, options ...string) *Node {
	t.Helper()
	port := freePort(t)
	dir := t.TempDir()
	args := []string{
		"--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--dir", dir,
		"--appendonly", "yes", "--appendfsync", "always", "--save", "",
		// Few writes between two sync points of a replica, so that a full one is rare.
		"--repl-diskless-sync-delay", "0",
	}
	n := &Node{Addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), t: t, log: filepath.Join(dir, "log")}
	if slices.Contains(options, "--tls-cert-file") {
		port := strconv.Itoa(freePort(t))
		n.TLSAddr = net.JoinHostPort("127.0.0.1", port)
		args = append(args, "--tls-port", port)
	}
	n.args = append(args, options...)
	t.Cleanup(n.Kill)
	return n
}

// freePort finds a port that nobody listens to, below those that the system gives
// to outgoing connections: one of them could take it before the server does.
func freePort(t testing.TB) int {
	t.Helper()
	const lowest, highest = 10_000, 32_000
	for range 100 {
		port := lowest + rand.IntN(highest-lowest)
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		return port
	}
	t.Fatal("no port is free")
	return 0
}

// Restart starts the process again, with the data that it left, and waits until
// it answers.
func (n *Node) Restart() {
	n.t.Helper()
	n.launch()
	n.ready()
}

// Rejoin starts a primary again that was killed and replaced, and waits until it
// follows the new one.
func (n *Node) Rejoin() {
	n.t.Helper()
	n.Restart()
	n.Info("replication", "master_link_status:up")
}

// launch starts the process.
func (n *Node) launch() {
	n.t.Helper()
	n.Kill()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		n.t.Fatal("redis-server is missing: `make deps` installs it")
	}
	out, err := os.OpenFile(n.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		n.t.Fatal(err)
	}
	n.cmd = exec.Command(path, n.args...)
	n.cmd.Stdout, n.cmd.Stderr = out, out
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	err = n.cmd.Start()
	if err := errors.Join(err, out.Close()); err != nil {
		n.t.Fatal(err)
	}
	n.exited = make(chan struct{})
	go func() {
		defer close(n.exited)
		_ = n.cmd.Wait() // killed is an error, too
	}()
}

// ready waits until the process answers.
func (n *Node) ready() {
	n.t.Helper()
	n.Until("it answers", func(c *goredis.Client) (bool, error) {
		select {
		case <-n.exited:
			n.t.Fatalf("redis-server at %s ended by itself:\n%s", n.Addr, n.Log())
		default:
		}
		err := c.Ping(context.Background()).Err()
		return err == nil || strings.HasPrefix(err.Error(), "NOAUTH"), nil
	})
}

// Kill kills the process, as kill -9 does, and waits for its end.
func (n *Node) Kill() { n.end(syscall.SIGKILL) }

// Stop ends the process in order.
func (n *Node) Stop() { n.end(syscall.SIGTERM) }

func (n *Node) end(s syscall.Signal) {
	n.t.Helper()
	if n.cmd == nil {
		return
	}
	n.signal(s)
	if s != syscall.SIGKILL {
		n.signal(syscall.SIGCONT) // a paused one ends, too
	}
	<-n.exited
	n.cmd = nil
}

// Pause makes the process hang until Resume: its connections stay open.
func (n *Node) Pause() { n.signal(syscall.SIGSTOP) }

// Resume ends Pause.
func (n *Node) Resume() { n.signal(syscall.SIGCONT) }

func (n *Node) signal(s syscall.Signal) {
	n.t.Helper()
	if err := n.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		n.t.Errorf("%v redis-server at %s: %v", s, n.Addr, err)
	}
}

// Running says whether the process was started and not ended.
func (n *Node) Running() bool { return n.cmd != nil }

// Log is what the process has logged.
func (n *Node) Log() string {
	b, err := os.ReadFile(n.log)
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-4000):])
}

// Client connects to the node. The caller closes it.
func (n *Node) Client() *goredis.Client {
	logging.Disable() // what it would log comes back as an error
	return goredis.NewClient(&goredis.Options{Addr: n.Addr, Protocol: 2, DisableIdentity: true, MaxRetries: -1, DialerRetries: 1, DialTimeout: time.Second, ReadTimeout: 5 * time.Second})
}

// Do sends a command and returns its reply as text.
func (n *Node) Do(args ...any) string {
	n.t.Helper()
	c := n.Client()
	reply, err := c.Do(context.Background(), args...).Result()
	if err := errors.Join(ignoreNil(err), c.Close()); err != nil {
		n.t.Fatalf("%v at %s: %v", args[0], n.Addr, err)
	}
	return fmt.Sprint(reply)
}

func ignoreNil(err error) error {
	if errors.Is(err, goredis.Nil) {
		return nil
	}
	return err
}

// Until polls until ok says so; what is for the failure.
func (n *Node) Until(what string, ok func(c *goredis.Client) (bool, error)) {
	n.t.Helper()
	c := n.Client()
	defer func() { _ = c.Close() }()
	end := time.Now().Add(patience)
	var last error
	for time.Now().Before(end) {
		var yes bool
		if yes, last = ok(c); yes {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	n.t.Fatalf("redis-server at %s: waited for %v that %s: %v\n%s", n.Addr, patience, what, last, n.Log())
}

// Info waits until lines are in INFO section.
func (n *Node) Info(section string, lines ...string) {
	n.t.Helper()
	n.Until(strings.Join(lines, ", "), func(c *goredis.Client) (bool, error) {
		text, err := c.Info(context.Background(), section).Result()
		for _, line := range lines {
			if !strings.Contains(text, line) {
				return false, err
			}
		}
		return true, err
	})
}
