package sandbox

import (
	"encoding/binary"
	"io"
	"runtime"

	"github.com/tetratelabs/wazero/api"
)

// errno of WASI preview 1
// (https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#errno).
const (
	errnoSuccess = 0
	errnoBadF    = 8
	errnoFault   = 21
	errnoInval   = 28
	errnoIO      = 29
	errnoNoSys   = 52
	errnoNotSup  = 58
)

// wasiModule is as much of WASI preview 1 as language runtimes need to start:
// clocks, randomness, lines to standard output and error, an end. There are no
// files, no environment, no arguments and no sockets. A pointer outside memory
// is EFAULT here, as guests' libraries expect of WASI.
func wasiModule() hostModule {
	errno := func(name, params string, do func(in *instance, s []uint64) uint32) hostFunc {
		return hostFunc{name: name, sig: sig(params, "i"), call: func(in *instance, s []uint64) { s[0] = uint64(do(in, s)) }}
	}
	always := func(n uint32) func(*instance, []uint64) uint32 {
		return func(*instance, []uint64) uint32 { return n }
	}
	m := hostModule{name: moduleWASI, funcs: []hostFunc{
		errno("args_get", "ii", always(errnoSuccess)),
		errno("args_sizes_get", "ii", wasiNoSizes),
		errno("environ_get", "ii", always(errnoSuccess)),
		errno("environ_sizes_get", "ii", wasiNoSizes),
		errno("clock_res_get", "ii", wasiClockRes),
		errno("clock_time_get", "ili", wasiClockTime),
		errno("random_get", "ii", wasiRandom),
		errno("fd_write", "iiii", wasiWrite),
		errno("fd_fdstat_get", "ii", wasiFdStat),
		errno("fd_prestat_get", "ii", always(errnoBadF)),
		errno("fd_close", "i", always(errnoBadF)),
		errno("fd_seek", "ilii", always(errnoBadF)),
		errno("poll_oneoff", "iiii", wasiPoll),
		errno("sched_yield", "", func(in *instance, _ []uint64) uint32 { in.bound.wait(runtime.Gosched); return errnoSuccess }),
		{name: "proc_exit", sig: sig("i", ""), call: func(_ *instance, s []uint64) { panic(&guestExit{code: uint32(s[0])}) }},
	}}
	for _, f := range wasiAbsent() {
		m.funcs = append(m.funcs, errno(f[0], f[1], always(errnoNoSys)))
	}
	return m
}

// wasiAbsent lists the functions of preview 1 that answer ENOSYS, with their
// parameters.
func wasiAbsent() [][2]string {
	return [][2]string{
		{"fd_advise", "illi"},
		{"fd_allocate", "ill"},
		{"fd_datasync", "i"},
		{"fd_fdstat_set_flags", "ii"},
		{"fd_fdstat_set_rights", "ill"},
		{"fd_filestat_get", "ii"},
		{"fd_filestat_set_size", "il"},
		{"fd_filestat_set_times", "illi"},
		{"fd_pread", "iiili"},
		{"fd_prestat_dir_name", "iii"},
		{"fd_pwrite", "iiili"},
		{"fd_read", "iiii"},
		{"fd_readdir", "iiili"},
		{"fd_renumber", "ii"},
		{"fd_sync", "i"},
		{"fd_tell", "ii"},
		{"path_create_directory", "iii"},
		{"path_filestat_get", "iiiii"},
		{"path_filestat_set_times", "iiiilli"},
		{"path_link", "iiiiiii"},
		{"path_open", "iiiiillii"},
		{"path_readlink", "iiiiii"},
		{"path_remove_directory", "iii"},
		{"path_rename", "iiiiii"},
		{"path_symlink", "iiiii"},
		{"path_unlink_file", "iii"},
		{"proc_raise", "i"},
		{"sock_accept", "iii"},
		{"sock_recv", "iiiiii"},
		{"sock_send", "iiiii"},
		{"sock_shutdown", "ii"},
	}
}

// room gives n bytes of the guest's memory; false where they are outside.
func (in *instance) room(ptr uint64, n uint32) ([]byte, bool) {
	return in.memory.Read(api.DecodeU32(ptr), n)
}

// wasiNoSizes is args_sizes_get and environ_sizes_get(count_ptr, size_ptr).
func wasiNoSizes(in *instance, s []uint64) uint32 {
	if !in.memory.WriteUint32Le(api.DecodeU32(s[0]), 0) || !in.memory.WriteUint32Le(api.DecodeU32(s[1]), 0) {
		return errnoFault
	}
	return errnoSuccess
}

// Clock ids of preview 1.
const (
	clockRealtime  = 0
	clockMonotonic = 1
)

// clock reads one of the two clocks that there are, in nanoseconds.
func (in *instance) clock(id uint64) (uint64, bool) {
	s := in.plugin.sandbox
	now := s.now().Add(in.slept)
	switch api.DecodeU32(id) {
	case clockRealtime:
		return uint64(now.UnixNano()), true
	case clockMonotonic:
		return uint64(max(0, now.Sub(s.clock0))), true
	}
	return 0, false
}

// wasiClockRes is clock_res_get(id, result_ptr).
func wasiClockRes(in *instance, s []uint64) uint32 {
	if _, ok := in.clock(s[0]); !ok {
		return errnoInval
	}
	if !in.memory.WriteUint64Le(api.DecodeU32(s[1]), 1) {
		return errnoFault
	}
	return errnoSuccess
}

// wasiClockTime is clock_time_get(id, precision, result_ptr).
func wasiClockTime(in *instance, s []uint64) uint32 {
	t, ok := in.clock(s[0])
	if !ok {
		return errnoInval
	}
	if !in.memory.WriteUint64Le(api.DecodeU32(s[2]), t) {
		return errnoFault
	}
	return errnoSuccess
}

// maxPiece is what one fd_write takes, and what random_get fills between two
// looks at the time.
const maxPiece = 64 << 10

// wasiRandom is random_get(ptr, len).
func wasiRandom(in *instance, s []uint64) uint32 {
	b, ok := in.room(s[0], api.DecodeU32(s[1]))
	if !ok {
		return errnoFault
	}
	for len(b) > 0 {
		in.bound.check()
		n := min(len(b), maxPiece)
		in.bound.spend(n)
		if _, err := io.ReadFull(in.plugin.sandbox.opt.Rand, b[:n]); err != nil {
			return errnoIO
		}
		b = b[n:]
	}
	return errnoSuccess
}

// wasiWrite is fd_write(fd, iovs_ptr, iovs_len, written_ptr). It takes maxPiece
// bytes at most, and says so: a guest writes the rest with another call.
func wasiWrite(in *instance, s []uint64) uint32 {
	var w *lineWriter
	switch api.DecodeU32(s[0]) {
	case 1:
		w = &in.stdout
	case 2:
		w = &in.stderr
	default:
		return errnoBadF
	}
	iovs, count := api.DecodeU32(s[1]), api.DecodeU32(s[2])
	var written uint32
	for i := uint32(0); i < min(count, 1024) && written < maxPiece; i++ {
		iov, ok := in.memory.Read(iovs, 8)
		if !ok {
			return errnoFault
		}
		b, ok := in.memory.Read(binary.LittleEndian.Uint32(iov), binary.LittleEndian.Uint32(iov[4:]))
		if !ok {
			return errnoFault
		}
		b = b[:min(uint32(len(b)), maxPiece-written)]
		in.bound.spend(len(b))
		w.write(in, b)
		written += uint32(len(b))
		iovs += 8
	}
	if !in.memory.WriteUint32Le(api.DecodeU32(s[3]), written) {
		return errnoFault
	}
	return errnoSuccess
}

// wasiFdStat is fd_fdstat_get(fd, result_ptr): 0 to 2 are character devices.
func wasiFdStat(in *instance, s []uint64) uint32 {
	fd := api.DecodeU32(s[0])
	if fd > 2 {
		return errnoBadF
	}
	b, ok := in.room(s[1], 24)
	if !ok {
		return errnoFault
	}
	clear(b)
	const characterDevice, rightRead, rightWrite = 2, 1 << 1, 1 << 6
	b[0] = characterDevice
	b[8] = rightWrite
	if fd == 0 {
		b[8] = rightRead
	}
	return errnoSuccess
}
