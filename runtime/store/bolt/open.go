package bolt

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// FileName is the store's file in Options.Dir.
const FileName = "weft.db"

const (
	lockWait  = 800 * time.Millisecond // how long Open waits for another process to let go of the file
	lockRetry = 50 * time.Millisecond
	mapSize   = 64 << 20 // address space, so that the file is mapped anew less often
	growStep  = 4 << 20  // the file grows by this
)

// Errors of Open that a caller may decide by.
var (
	// ErrInUse says that another process has the file open.
	ErrInUse = errors.New("in use by another process")
	// ErrForeign says that the file is not a store, or one of a newer version of weft.
	ErrForeign = errors.New("not a store of this version of weft")
)

// Open opens the store in o.Dir and makes it where there is none. It waits at most
// a second for a file that another process has open (ErrInUse). When it returns,
// whatever the file holds is on the disk, an earlier process's last writes too.
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	path := filepath.Join(o.Dir, FileName)
	s, err := open(ctx, path, o)
	if err != nil {
		return nil, fmt.Errorf("open the store %s: %w", path, err)
	}
	return s, nil
}

func open(ctx context.Context, path string, o Options) (*Store, error) {
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, err
	}
	db, err := openFile(ctx, path)
	if err != nil {
		return nil, err
	}
	s := &Store{
		db: db, clock: o.Now, log: o.Logger,
		wake: make(chan struct{}, 1), committed: make(chan struct{}), swept: make(chan struct{}),
		commitFile: (*bbolt.Tx).Commit,
		queues:     map[string]*queueState{},
		locks:      &lockTable{held: map[string]lease{}},
		board:      newBoard(),
		token:      rand.Uint64(), // so that a claim of an earlier Store is none of this one
	}
	if err := s.prepare(ctx, path); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	// The sweeper ends with Close, not with the context of Open.
	sweeping, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stopSweep = stop
	go s.commitAll()
	go s.sweepAll(sweeping)
	return s, nil
}

// openFile opens the file and locks it.
func openFile(ctx context.Context, path string) (*bbolt.DB, error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: it is no regular file; move it away, or choose another folder", ErrForeign)
	}
	deadline := time.Now().Add(lockWait)
	for {
		db, err := openBolt(path)
		switch {
		case err == nil:
			return db, nil
		case errors.Is(err, bolterrors.ErrTimeout) && time.Now().After(deadline):
			return nil, fmt.Errorf("%w: stop that one, or give this one another folder", ErrInUse)
		case errors.Is(err, bolterrors.ErrTimeout):
		case isSystem(err), errors.Is(err, ErrForeign):
			return nil, err
		default:
			return nil, fmt.Errorf("%w: %w; move the file away, or choose another folder", ErrForeign, err)
		}
		timer := time.NewTimer(lockRetry)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, ctx.Err()
		}
	}
}

// isSystem says whether err is the operating system's.
func isSystem(err error) bool {
	var errno syscall.Errno
	return errors.As(err, &errno)
}

// openBolt opens the file if nobody has it. bbolt panics on a file that is
// damaged, and reading one that was cut short faults.
func openBolt(path string) (db *bbolt.DB, err error) {
	var file *os.File
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: it is damaged: %v; put a copy in its place, or move it away", ErrForeign, p)
			if file != nil {
				err = errors.Join(err, file.Close())
			}
		}
	}()
	db, err = bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout: 1, // 1 ns: one look
		// The list of free pages is not written with each commit: after a large
		// backlog it would be the larger part of every one of them.
		NoFreelistSync:  true,
		FreelistType:    bbolt.FreelistMapType,
		NoStatistics:    true,
		InitialMmapSize: mapSize,
		OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
			f, err := os.OpenFile(name, flag, mode)
			file = f
			return f, err
		},
	})
	if err != nil {
		return nil, err
	}
	db.AllocSize = growStep
	return db, nil
}

// prepare checks the file or makes it a store, puts it on the disk and reads the queues.
func (s *Store) prepare(ctx context.Context, path string) error {
	isNew, err := s.inspect(path)
	if err != nil {
		return err
	}
	if isNew {
		if err := s.format(); err != nil {
			return fmt.Errorf("make a new store: %w", err)
		}
		if err := syncFolders(filepath.Dir(path)); err != nil {
			return err
		}
	}
	// A process that was killed between the write of a meta page and its sync
	// left a transaction that is to be seen and not on the disk.
	if err := s.db.Sync(); err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	id, err := s.seen()
	if err != nil {
		return err
	}
	s.durable.reach(id)
	if err := s.loadQueues(ctx); err != nil {
		return fmt.Errorf("read the queues: %w; put a copy in its place, or move it away", err)
	}
	return nil
}

// inspect looks whether the file is a store of ours, or has nothing in it yet.
func (s *Store) inspect(path string) (isNew bool, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return false, err
	}
	err = s.db.View(func(tx *bbolt.Tx) error {
		if tx.Size() > info.Size() {
			return fmt.Errorf("%w: it is cut short, %d bytes of %d; put a copy in its place, or move it away", ErrForeign, info.Size(), tx.Size())
		}
		if k, _ := tx.Cursor().First(); k == nil {
			isNew = true
			return nil
		}
		b := tx.Bucket([]byte(weftBucket))
		if b == nil {
			return fmt.Errorf("%w: it is another program's bbolt file; move it away, or choose another folder", ErrForeign)
		}
		v := b.Get([]byte(formatKey))
		if len(v) != 1 || v[0] != fileFormat {
			return fmt.Errorf("%w: its format is %x, this version knows %d; run the version of weft that wrote it, or move the file away", ErrForeign, v, fileFormat)
		}
		for _, name := range dataBuckets() {
			if tx.Bucket([]byte(name)) == nil {
				return fmt.Errorf("%w: its part %q is missing; put a copy in its place, or move it away", ErrForeign, name)
			}
		}
		return nil
	})
	return isNew, err
}

// format makes an empty file a store, in one transaction.
func (s *Store) format() error {
	return s.db.Update(func(tx *bbolt.Tx) error {
		for _, name := range dataBuckets() {
			if _, err := tx.CreateBucket([]byte(name)); err != nil {
				return err
			}
		}
		b, err := tx.CreateBucket([]byte(weftBucket))
		if err != nil {
			return err
		}
		return b.Put([]byte(formatKey), []byte{fileFormat})
	})
}

// syncFolders makes the name of a new file in dir, and the name of dir, durable.
func syncFolders(dir string) error {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	for _, name := range []string{abs, filepath.Dir(abs)} {
		f, err := os.Open(name)
		if errors.Is(err, fs.ErrPermission) && name != abs {
			continue // a folder that we can't read was not made by us
		}
		if err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return fmt.Errorf("sync the folder %s: %w", name, err)
		}
	}
	return nil
}
