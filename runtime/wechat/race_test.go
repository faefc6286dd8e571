//go:build race

package wechat

import "time"

// limit is the most work that one body may cost; the race detector makes all
// of it several times slower.
const limit = 100 * time.Millisecond
