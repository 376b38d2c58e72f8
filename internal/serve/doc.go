// Package serve owns the HTTP faces of the agent: the health server (10248), the read-only server (10255), and the
// admin socket, which only root may open and which alone can start something (exec, attach). They answer from published
// tables and change nothing.
//
// All of them share one table of routes (routes.go); each says behind which doors it stands. The authenticated server
// of a cluster (10250) will be one more door.
//
// JSON that is Bosun's own (below /debug, /events) is made of the exported types of this package, which its clients use.
package serve
