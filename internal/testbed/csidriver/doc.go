// Package csidriver is a small CSI driver for tests, which shows directories. It registers over the real socket of plugins, stages
// and publishes with real bind mounts, remembers every call, and fails, waits or hangs on demand.
//
// Only tests import this package.
package csidriver
