package process

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// SetOOMScore sets how soon the kernel ends this process when memory runs out: -1000 never, 1000 first (config
// oomScoreAdj). Programs that are started afterwards inherit it. Lacking the capability to lower it is a warning.
func SetOOMScore(root string, score int32) (warning string, err error) {
	file := filepath.Join(root, "proc/self/oom_score_adj")
	want := strconv.Itoa(int(score))
	now, err := os.ReadFile(file)
	if err == nil && strings.TrimSpace(string(now)) == want {
		return "", nil
	}
	if err == nil {
		err = write(file, want)
	}
	switch {
	case err == nil:
		return "", nil
	case lacksRight(err):
		return fmt.Sprintf("the kernel may end this process sooner than oomScoreAdj (%s) says when memory runs out, its score stays %s: lowering it needs CAP_SYS_RESOURCE; as a service, set OOMScoreAdjust=%s",
			want, strings.TrimSpace(string(now)), want), nil
	}
	return "", fmt.Errorf("set the OOM score of this process to %s (oomScoreAdj): %w", want, err)
}

// write writes to a file of the kernel's that is there: it is never made, nor written to twice, as each write counts.
func write(file, text string) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}
