// Package podapi is the part of an API server that the loops on pods meet: its pods in memory, the watch of one client, and calls
// with latency, lag and faults, under fake time (testing/synctest). What a call does to the pods is the tests' own. Test support only.
package podapi
