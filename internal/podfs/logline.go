package podfs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// LogLine is one entry of a container's log file.
type LogLine struct {
	Time time.Time
	// Stream is stdout or stderr.
	Stream string
	// Partial entries are continued by the next one of their stream.
	Partial bool
	// Text is what the container wrote, without the end of the line.
	Text []byte
}

var errLogLine = errors.New("not a log line")

// ParseLogLine reads an entry of a log file in the format of CRI runtimes
// ("2026-01-02T15:04:05.000000000Z stdout F text") or of docker ({"log":"text\n","stream":"stdout","time":"..."}).
func ParseLogLine(entry []byte) (LogLine, error) {
	entry = bytes.TrimSuffix(entry, []byte{'\n'})
	if len(entry) > 0 && entry[0] == '{' {
		return parseDocker(entry)
	}
	stamp, rest, ok := bytes.Cut(entry, []byte{' '})
	stream, rest, ok2 := bytes.Cut(rest, []byte{' '})
	tags, text, ok3 := bytes.Cut(rest, []byte{' '})
	if !ok || !ok2 {
		return LogLine{}, fmt.Errorf("%w: it has no time, stream and tag", errLogLine)
	}
	if !ok3 { // an empty line may come without the last blank
		text = nil
	}
	at, err := time.Parse(time.RFC3339Nano, string(stamp))
	if err != nil {
		return LogLine{}, fmt.Errorf("%w: %w", errLogLine, err)
	}
	tag, _, _ := bytes.Cut(tags, []byte{':'}) // further tags are for the future
	l := LogLine{Time: at, Stream: string(stream), Partial: string(tag) == "P", Text: text}
	if !l.Partial && string(tag) != "F" {
		return LogLine{}, fmt.Errorf("%w: tag %q is neither P nor F", errLogLine, tag)
	}
	return l, l.checkStream()
}

func parseDocker(entry []byte) (LogLine, error) {
	var d struct {
		Log    string    `json:"log"`
		Stream string    `json:"stream"`
		Time   time.Time `json:"time"`
	}
	if err := json.Unmarshal(entry, &d); err != nil {
		return LogLine{}, fmt.Errorf("%w: %w", errLogLine, err)
	}
	text, whole := bytes.CutSuffix([]byte(d.Log), []byte{'\n'})
	l := LogLine{Time: d.Time, Stream: d.Stream, Partial: !whole, Text: text}
	return l, l.checkStream()
}

func (l LogLine) checkStream() error {
	if l.Stream != "stdout" && l.Stream != "stderr" {
		return fmt.Errorf("%w: stream %q", errLogLine, l.Stream)
	}
	return nil
}
