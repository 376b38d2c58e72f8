// Package deviceplugin is a device plugin for tests: what it gives to containers is a variable, a directory and a copy of /dev/null.
// It registers as plugins do, at the agent's socket or by a socket of its own, and can be made to hang, to fail and to lie.
package deviceplugin
