package config

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// maxShown is how many runes of something from the file an error quotes.
const maxShown = 64

// maxKnown is how many names are looked at for a near one.
const maxKnown = 1000

// show makes s fit for an error: a plain word as it is, anything else quoted,
// both cut.
func show(s string) string {
	if utf8.RuneCountInString(s) > maxShown {
		s = string([]rune(s)[:maxShown]) + "…"
	}
	plain := s != "" && strings.IndexFunc(s, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-", r)
	}) < 0
	if plain {
		return s
	}
	return fmt.Sprintf("%q", s)
}

// nearest returns the known name that name was likely meant to be, "" where
// nothing is near. The first of equally near ones wins.
func nearest(name string, known []string) string {
	runes := []rune(strings.ToLower(name))
	if len(runes) > maxShown {
		return ""
	}
	best, bestDistance := "", max(1, len(runes)/3)+1
	for _, k := range known[:min(len(known), maxKnown)] {
		if n := utf8.RuneCountInString(k) - len(runes); n >= bestDistance || -n >= bestDistance {
			continue
		}
		d := distance(runes, []rune(strings.ToLower(k)))
		if d < bestDistance && d < len(runes) {
			best, bestDistance = k, d
		}
	}
	return best
}

// meant is the advice that goes with an unknown name. In a file that is full of
// problems none is looked for, because each costs a walk over all names.
func (d *decoder) meant(name string, known []string) string {
	if len(d.problems) > 3*MaxProblems {
		return ""
	}
	return meant(name, known)
}

func meant(name string, known []string) string {
	switch {
	case strings.Contains(name, "："):
		return fullWidthColon
	case strings.HasPrefix(name, "\u3000"):
		return fullWidthBlank
	}
	if n := nearest(name, known); n != "" {
		return "did you mean " + show(n) + "?"
	}
	return ""
}

// distance counts the insertions, deletions, replacements and swaps of
// neighbours between a and b (optimal string alignment).
func distance(a, b []rune) int {
	before, above, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range above {
		above[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(above[j]+1, row[j-1]+1, above[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, above, row = above, row, before
	}
	return above[len(b)]
}
