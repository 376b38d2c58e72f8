package cli

import (
	"io"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
)

// Colour tells whether to write colours to out: on a terminal, unless NO_COLOR is set or the terminal is dumb.
func Colour(out io.Writer) bool {
	return isTerminal(out) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

func isTerminal(out any) bool {
	f, ok := out.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// paint colours text, or does not.
type paint struct{ on bool }

func (p paint) with(code, text string) string {
	if !p.on || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (p paint) bold(text string) string   { return p.with("1", text) }
func (p paint) dim(text string) string    { return p.with("2", text) }
func (p paint) red(text string) string    { return p.with("31", text) }
func (p paint) green(text string) string  { return p.with("32", text) }
func (p paint) yellow(text string) string { return p.with("33", text) }

// status colours the word of a pod's status.
func (p paint) status(word string, settled bool) string {
	switch {
	case word == "Running" && settled, word == "Completed", word == "Succeeded":
		return p.green(word)
	case strings.Contains(word, "BackOff"), strings.Contains(word, "Err"), strings.HasPrefix(word, "OutOf"),
		word == "Failed", word == "OOMKilled", word == "Evicted", strings.Contains(word, "ExitCode"):
		return p.red(word)
	}
	return p.yellow(word)
}

// cell is a piece of a table: its text, and how to colour it.
type cell struct {
	text  string
	paint func(string) string
}

func plain(text string) cell { return cell{text: text} }

// columns writes rows with aligned columns, two blanks between them.
func columns(out io.Writer, rows [][]cell) error {
	var widths []int
	for _, row := range rows {
		for i, c := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(c.text))
		}
	}
	var text strings.Builder
	for _, row := range rows {
		for i, c := range row {
			shown := c.text
			if c.paint != nil {
				shown = c.paint(shown)
			}
			text.WriteString(shown)
			if slices.ContainsFunc(row[i+1:], func(c cell) bool { return c.text != "" }) { // no blanks at the end of a line
				text.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c.text)+2))
			}
		}
		text.WriteByte('\n')
	}
	_, err := io.WriteString(out, text.String())
	return err
}
