package gateway

import "time"

// chinaAhead is how far China, where WeChat's days begin, is ahead of UTC.
const chinaAhead = 8 * time.Hour

// dayOf counts WeChat's days since 1970, which begin at midnight in China.
func dayOf(t time.Time) int64 { return (t.Unix() + int64(chinaAhead/time.Second)) / (24 * 60 * 60) }

// dayStart is when a day of dayOf begins.
func dayStart(day int64) time.Time {
	return time.Unix(day*24*60*60-int64(chinaAhead/time.Second), 0)
}

// dayEnd is when the day of t is over.
func dayEnd(t time.Time) time.Time { return dayStart(dayOf(t) + 1) }
