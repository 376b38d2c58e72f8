package process

import (
	"errors"
	"os"
)

// Settings say what Prepare has to do.
type Settings struct {
	// Root is where /proc and /sys are; empty means "/".
	Root string
	// MaxOpenFiles is config maxOpenFiles; 0 leaves the limit as it is.
	MaxOpenFiles int64
	// OOMScoreAdj is config oomScoreAdj; nil leaves the score as it is.
	OOMScoreAdj *int32
	// FailSwapOn and FailCgroupV1 are the config fields of these names.
	FailSwapOn, FailCgroupV1 bool
	// Kernel says what to do about kernel settings.
	Kernel KernelMode
}

// Prepare makes the process and the machine ready for the agent, or says in one error all that keeps it from running
// here. It looks at everything before it changes anything. Where the process lacks the right to a change that it can do
// without, there is a warning.
func Prepare(cfg Settings) (warnings []string, err error) { return prepare(cfg, kernelLimits{}) }

func prepare(cfg Settings, limits limits) (warnings []string, err error) {
	if cfg.Root == "" {
		cfg.Root = "/"
	}

	var wrong []error
	note := func(warning string, err error) {
		if warning != "" {
			warnings = append(warnings, warning)
		}
		wrong = append(wrong, err)
	}
	note(CheckCgroup(cfg.Root, cfg.FailCgroupV1))
	note("", CheckSwap(cfg.Root, cfg.FailSwapOn))
	if cfg.Kernel == CheckKernel {
		note("", checkKernel(cfg.Root))
	}
	if err := errors.Join(wrong...); err != nil {
		return warnings, err
	}
	note(setOpenFiles(limits, cfg.MaxOpenFiles))
	if cfg.OOMScoreAdj != nil {
		note(SetOOMScore(cfg.Root, *cfg.OOMScoreAdj))
	}
	if cfg.Kernel == SetKernel {
		note(setKernel(cfg.Root))
	}
	return warnings, errors.Join(wrong...)
}

// lacksRight tells whether a change failed because this process may not make it, or nobody may here, as in a container.
func lacksRight(err error) bool {
	return errors.Is(err, os.ErrPermission) || errors.Is(err, errReadOnly)
}
