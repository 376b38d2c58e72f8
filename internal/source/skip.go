package source

import (
	"regexp"
	"slices"
	"strings"
)

// skippedEndings, skippedNames: see the package comment.
var skippedEndings = []string{
	"~", ".swp", ".swo", ".swx", ".tmp", ".temp", ".part", ".partial", ".filepart",
	".bak", ".orig", ".old", ".rej", ".save", ".rpmsave", ".rpmnew", ".rpmorig",
	".dpkg-old", ".dpkg-new", ".dpkg-dist", ".dpkg-tmp", ".dpkg-bak", ".ucf-old", ".ucf-new", ".ucf-dist",
}

// skippedNames: vim tries 4913 and then adds 123 as long as the name is taken; sed -i and mktemp fill in letters.
var skippedNames = regexp.MustCompile(`^(sed[A-Za-z0-9]{6}|tmp\..*|#.*#|4913|5036|5159|5282|5405)$`)

// skipped tells whether a file of a directory is no manifest by its name.
func skipped(name string) bool {
	return strings.HasPrefix(name, ".") || strings.HasPrefix(name, "~") || skippedNames.MatchString(name) ||
		slices.ContainsFunc(skippedEndings, func(end string) bool { return strings.HasSuffix(name, end) })
}
