//go:build !race

package wechat

import "time"

// limit is the most work that one body may cost.
const limit = 10 * time.Millisecond
