// Package systemd owns the conversation with systemd-logind, over the system bus, about the machine going down: a lock
// that delays it, how long logind lets such locks delay it at most, and the announcement that it is about to happen.
//
// It decides nothing. Where there is no bus or no logind, Connect says so. The bus is found at DBUS_SYSTEM_BUS_ADDRESS, or
// where it usually is.
package systemd
