// Package handler owns what the handlers of probes and hooks mean before anything is sent: host, port, URL and headers of
// a request to a container. Nothing that a handler says leads to another host or port than those it names.
package handler
