// Package safepath owns every access to a path that somebody less trusted than the agent can influence: names from
// pod specifications, and anything below a directory a container can write to.
//
// A Root is an open directory. Names given to its methods are resolved by the kernel (openat2) beneath that
// directory, without magic links and, unless asked otherwise, without any symbolic link. There is no moment between
// checking a path and using it: what was resolved is a file descriptor, and every effect (open, create, chmod, remove,
// bind mount by way of ProcPath) goes to that descriptor. So a container that swaps a directory for a symbolic link
// while the agent works gains nothing (the classes of CVE-2017-1002101 and CVE-2021-25741).
//
// Needs Linux 5.6 or newer, and /proc.
package safepath
