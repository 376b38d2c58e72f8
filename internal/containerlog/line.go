package containerlog

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"
)

// Stdout and Stderr are the names of the streams in log files.
const (
	Stdout = "stdout"
	Stderr = "stderr"
)

// timeLayout is how times are printed in front of lines: always with nine digits, so that lines align.
const timeLayout = "2006-01-02T15:04:05.000000000Z07:00"

// piece is one physical line of a log file: a line of the container, or a part of a long one.
type piece struct {
	at     time.Time
	stream string
	// partial tells that the container's line goes on in the next piece of the stream.
	partial bool
	// text is without the newline. It is valid until the next read.
	text []byte
}

// parse reads a physical line, without its newline, in either format. It tells whether it could; what it cannot read is
// shown as it is, because a line that is lost helps nobody.
func parse(line []byte) (piece, bool) {
	if len(line) > 0 && line[0] == '{' {
		return parseDocker(line)
	}
	return parseCRI(line)
}

// parseCRI reads "2016-10-06T00:17:09.669794202Z stdout F text". The third word holds tags, separated by colons; of
// them only the first is defined: P for a part of a line, F for a full one or the last part.
func parseCRI(line []byte) (piece, bool) {
	at, rest, ok := bytes.Cut(line, []byte{' '})
	if !ok {
		return piece{}, false
	}
	stream, rest, ok := bytes.Cut(rest, []byte{' '})
	if !ok {
		return piece{}, false
	}
	tags, text, _ := bytes.Cut(rest, []byte{' '}) // an empty line may end after its tags
	tag, _, _ := bytes.Cut(tags, []byte{':'})
	p := piece{stream: streamName(string(stream)), text: text}
	switch string(tag) {
	case "P":
		p.partial = true
	case "F":
	default:
		return piece{}, false
	}
	var err error
	p.at, err = time.Parse(time.RFC3339Nano, string(at))
	return p, err == nil && p.stream != ""
}

// parseDocker reads {"log":"text\n","stream":"stdout","time":"2016-10-06T00:17:09.669794202Z"}. Text without a newline at
// its end is a part of a line.
func parseDocker(line []byte) (piece, bool) {
	var entry struct {
		Log    *string   `json:"log"`
		Stream string    `json:"stream"`
		Time   time.Time `json:"time"`
	}
	if err := json.Unmarshal(line, &entry); err != nil || entry.Log == nil {
		return piece{}, false
	}
	text, whole := strings.CutSuffix(*entry.Log, "\n")
	p := piece{at: entry.Time, stream: streamName(entry.Stream), partial: !whole, text: []byte(text)}
	return p, p.stream != ""
}

// streamName keeps the names of streams from being copied.
func streamName(s string) string {
	switch s {
	case Stdout:
		return Stdout
	case Stderr:
		return Stderr
	}
	return ""
}
