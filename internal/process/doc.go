// Package process owns what the agent does to its own process, and to the kernel's settings, when it starts: limits,
// OOM score, memory, the lock that keeps a second agent away, and what systemd is told. It also refuses machines that
// the configuration rules out (swap, cgroup v1).
//
// The order: Acquire the lock (--lock-file), Prepare, build and start the agent, Ready; Watchdog.Run while it runs;
// Stopping; release the lock.
//
// A root argument names the directory below which /proc and /sys are looked for, "/" but in tests. A warning is a
// sentence for the log about something that works less well than it could; the agent goes on.
package process
