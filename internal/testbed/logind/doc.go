// Package logind gives tests a real message bus of their own, with a stand-in for systemd-logind and for what of systemd is
// needed to make logind read its configuration again.
package logind
