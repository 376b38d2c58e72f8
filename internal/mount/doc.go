// Package mount owns the calls that mount and unmount, and the reading of the mount table. It decides nothing: what is
// mounted where, and when, is the business of volume.
//
// Sources and targets are open files (O_PATH handles from safepath), so that no path is resolved again between the
// check and the mount. A bind mount is prepared detached, with its flags set, and only then attached: nobody ever sees
// it writable if it is to be read-only. Needs Linux 5.6; before 5.12 flags are set right after attaching.
package mount
