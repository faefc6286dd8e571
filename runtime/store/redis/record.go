package redis

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
)

var (
	errRecord = errors.New("damaged record")
	errReply  = errors.New("an answer that the script does not give")
)

// forever is the end of what isn't over by time.
const forever = 0

// The head of a timed record, which prelude.lua writes: format 1, when it is over
// in microseconds since 1970 (8 bytes, big endian).
const timedHead = 9

// readTimed reads a timed record.
func readTimed(record string) (ends int64, data string, err error) {
	switch {
	case len(record) < timedHead:
		return 0, "", fmt.Errorf("%w: it is cut short at %d bytes", errRecord, len(record))
	case record[0] != 1:
		return 0, "", fmt.Errorf("%w: format %d, this version of weft knows 1", errRecord, record[0])
	}
	return int64(binary.BigEndian.Uint64([]byte(record[1:timedHead]))), record[timedHead:], nil
}

// readTime reads the reply of TIME, in microseconds.
func readTime(reply any) (int64, error) {
	list, _ := reply.([]any)
	if len(list) != 2 {
		return 0, errReply
	}
	var parts [2]int64
	for i, p := range list {
		text, _ := p.(string)
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 0 || n > 1<<40 {
			return 0, errReply
		}
		parts[i] = n
	}
	return parts[0]*1_000_000 + parts[1], nil
}
