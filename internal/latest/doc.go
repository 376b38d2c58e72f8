// Package latest owns the way loops share what they know: a Cell holds the newest value of something and wakes
// whoever waits for a newer one. There is one writer per cell; values are never changed after they were set.
package latest
