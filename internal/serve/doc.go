// Package serve owns the HTTP faces of the agent: the health server (10248), the read-only server (10255), the secure
// server (10250), which asks who comes and whether they may (package access), and the admin socket, which only root may
// open. They answer from published tables; what they start in pods (exec, attach, port-forward, run, checkpoint) they
// have the container runtime do, and only the last two have it.
//
// All of them share one table of routes (routes.go); each says behind which doors it stands.
//
// A stream to a container is a connection of the client joined to one of the runtime's streaming server (join.go): what
// is in it is not looked at. Only for the newest WebSocket protocols, which runtimes do not speak, are messages turned
// into SPDY (channels.go for exec and attach, forward.go for ports).
//
// JSON that is Bosun's own (below /debug, /events) is made of the exported types of this package, which its clients use.
package serve
