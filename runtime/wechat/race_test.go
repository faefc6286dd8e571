//go:build race

package wechat

import "time"

// limit is the most work that one body may cost. The race detector makes it
// many times as much: here only what grows faster than the body is found.
const limit = 5 * time.Second
