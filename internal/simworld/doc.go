// Package simworld is the world that the worker's tests run in: a runtime, volumes, cgroups and a ledger in memory,
// with delays, faults, lost events and crashes, under fake time (testing/synctest). It watches itself: what must
// never happen is recorded as a violation. Test support only.
package simworld
