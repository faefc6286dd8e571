package redis

import "strconv"

// The key space. What stands in braces decides the slot of a Cluster, so that
// what one script touches is in one slot. A name may hold any bytes, braces,
// too: the part before it and the part after it are of fixed length, so two
// different names never make one key, and all keys of one name have one slot.
//
//	PREFIX:{b:BUCKET}:v   hash: key → timed record
//	PREFIX:{b:BUCKET}:x   sorted set: key, by the time at which its value is over
//	PREFIX:{b:BUCKET}:m   hash: once → mark
//	PREFIX:{b:BUCKET}:y   sorted set: once, by the time at which its mark is over
//	PREFIX:{b:BUCKET}:s   bytes of keys and values in v, those that are over included until they are removed
//	PREFIX:{b:BUCKET}:n   for numbers, within a script
//	PREFIX:{q:QUEUE}:…    a queue
//	PREFIX:{l:LOCK}:l     hash: f the last fence, u when the lock is over, 0 where it is free
//	PREFIX:{k:KEY}:k      a timed record of the board
//	PREFIX:{t:TOPIC}:DB   a channel; Redis has them for all databases
//
// Times are microseconds since 1970.
type bucketKeys struct{ values, expiry, marks, markExpiry, size, scratch string }

func (b *base) bucketKeys(bucket string) bucketKeys {
	k := b.key('b', bucket)
	return bucketKeys{values: k + "v", expiry: k + "x", marks: k + "m", markExpiry: k + "y", size: k + "s", scratch: k + "n"}
}

// queueKey is the key of a part of a queue, one letter.
func (b *base) queueKey(queue string, part byte) string { return b.key('q', queue) + string(part) }

func (b *base) lockKey(name string) string { return b.key('l', name) + "l" }
func (b *base) boardKey(key string) string { return b.key('k', key) + "k" }

func (b *base) channel(topic string) string { return b.key('t', topic) + strconv.Itoa(b.o.DB) }

func (b *base) key(kind byte, name string) string {
	return b.o.Prefix + ":{" + string(kind) + ":" + name + "}:"
}
